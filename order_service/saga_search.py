"""Which sagas are meant: on which shelf of the board, at which step, whose turn; stuck ones first.

Owns: the SQL that finds sagas, put together once like that of search.py, whose words and filters hold here too. Steps
and turns are board.py's, said in columns: a test compares the two.
Must not know: how what was found is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from uuid import UUID

from sqlalchemy import TextClause, text

from order_service.board import DONE, SHIPMENT, Actor, Board
from order_service.deadlines import Wait
from order_service.search import ANY, BY_TEXT, FILTERS, Filter, filter_parameters, text_parameters
from shared.database import Transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaFilter(Filter):
    """``before``: rank and id of the last one of the page before."""

    board: Board | None = None
    step: str | None = None
    actor: Actor | None = None
    before: tuple[int, UUID] | None = None


_UNDONE = "o.status = 'CANCELLED' and o.settled_at is null"
_ENDED = ("o.status = 'FULFILLED'", "o.status = 'CANCELLED' and o.settled_at is not null")
_IS_ENDED = f"({' or '.join(f'({condition})' for condition in _ENDED)})"
_AT_STEP: Mapping[str, str] = {
    Wait.APPROVAL: "o.status = 'PENDING' and o.awaits_approval",
    Wait.ANSWER: "o.status = 'PENDING' and not o.awaits_approval",
    Wait.PAYMENT: "o.status = 'RESERVED'",
    # Served by an index of their own: among a million paid orders that wait to be shipped they are few.
    Wait.STOCK: "o.status = 'CONFIRMED' and o.fulfil_requested_at is null and o.stock <> 'HELD'",
    Wait.FULFILMENT: "o.status = 'CONFIRMED' and o.fulfil_requested_at is not null",
    SHIPMENT: "o.status = 'CONFIRMED' and o.fulfil_requested_at is null and o.stock = 'HELD'",
    Wait.COMPENSATION: _UNDONE,
    DONE: _IS_ENDED,
}
STEPS = tuple(str(step) for step in _AT_STEP)
_TURN_OF: Mapping[str, tuple[str, ...]] = {
    Actor.CUSTOMER: ("o.status = 'RESERVED' and o.money = 'AWAITED'",),
    Actor.SELLER: (_AT_STEP[Wait.APPROVAL], _AT_STEP[SHIPMENT]),
    Actor.INVENTORY: (
        _AT_STEP[Wait.ANSWER],
        _AT_STEP[Wait.STOCK],
        _AT_STEP[Wait.FULFILMENT],
        f"{_UNDONE} and o.stock <> 'FREE'",
    ),
    Actor.PAYMENT: ("o.status = 'RESERVED' and o.money <> 'AWAITED'", f"{_UNDONE} and o.stock = 'FREE'"),
    Actor.NOBODY: (_IS_ENDED,),
}


def _one_of(parameter: str, conditions: Mapping[str, str]) -> str:
    cases = " or ".join(f"cast(:{parameter} as text) = '{name}' and ({what})" for name, what in conditions.items())
    return f"(cast(:{parameter} as text) is null or {cases})"


_TURNS = {name: " or ".join(f"({part})" for part in parts) for name, parts in _TURN_OF.items()}
_MEANT = f"{_one_of('step', _AT_STEP)} and {FILTERS}"
_WHOSE_TURN = _one_of("actor", _TURNS)

_STUCK, _OTHERS = 0, 1
_RUNNING = ("o.status = 'PENDING'", "o.status = 'RESERVED'", "o.status = 'CONFIRMED'", _UNDONE)
_BOARD_IS = "cast(:board as text) = "
_IS_RUNNING = f"({' or '.join(f'({condition})' for condition in _RUNNING)})"
_FLAGGED = (_STUCK, f"o.flag is not null and coalesce(:board, '') <> '{Board.ENDED}' and {_WHOSE_TURN}")
_NOT_FLAGGED = "o.flag is null and"
# (rank, condition): alone, each is served by an index; beside a text they filter what that found.
_SHELVES = (
    _FLAGGED,
    (_OTHERS, f"{_NOT_FLAGGED} cast(:board as text) is null"),
    *((_OTHERS, f"{_NOT_FLAGGED} {_BOARD_IS} '{Board.RUNNING}' and {running}") for running in _RUNNING),
    *((_OTHERS, f"{_NOT_FLAGGED} {_BOARD_IS} '{Board.ENDED}' and {ended}") for ended in _ENDED),
)
_SHELVES_OF_FOUND = (
    _FLAGGED,
    (
        _OTHERS,
        f"{_NOT_FLAGGED} (cast(:board as text) is null or {_BOARD_IS} '{Board.RUNNING}' and {_IS_RUNNING}"
        f" or {_BOARD_IS} '{Board.ENDED}' and not {_IS_RUNNING}) and {_WHOSE_TURN}",
    ),
)


def _shelves_of(actor: str) -> tuple[tuple[int, str], ...]:
    """One for each reason why it may be their turn: together they would read all paid orders to find a few others."""
    board = Board.ENDED if actor == Actor.NOBODY else Board.RUNNING
    parts = _ENDED if actor == Actor.NOBODY else _TURN_OF[actor]
    is_meant = f"coalesce(:board, '{board}') = '{board}'"
    return (_FLAGGED, *((_OTHERS, f"{_NOT_FLAGGED} {is_meant} and {part}") for part in parts))


def _sagas(ways: tuple[tuple[str, str], ...], shelves: tuple[tuple[int, str], ...]) -> TextClause:
    branches = (
        f"(select {rank} as rank, o.id from {source} where {condition} and {shelf} and {_MEANT} "  # noqa: S608
        f"and (cast(:rank as int) is null or {rank} > :rank or {rank} = :rank and o.id < cast(:before as uuid)) "
        "order by o.id desc limit :limit)"
        for (source, condition), (rank, shelf) in product(ways, shelves)
    )
    return text(f"{' union '.join(branches)} order by 1, 2 desc limit :limit")


_SAGAS_BY_TEXT = _sagas(BY_TEXT, _SHELVES_OF_FOUND)
_SAGAS = _sagas(ANY, _SHELVES)
_SAGAS_OF = {actor: _sagas(ANY, _shelves_of(actor)) for actor in Actor}


def find_sagas(tx: Transaction, wanted: SagaFilter) -> list[tuple[int, UUID]]:
    """At most ``limit`` (rank, id): what is flagged first, then newest first."""
    rank, before = wanted.before or (None, None)
    rows = tx.fetch(
        statement_for(wanted),
        limit=wanted.limit,
        board=_board_of(wanted),
        step=wanted.step,
        actor=wanted.actor,
        rank=rank,
        before=before,
        **filter_parameters(wanted),
        **text_parameters(wanted.text),
    )
    return [(row.rank, row.id) for row in rows]


def statement_for(wanted: SagaFilter) -> TextClause:
    if wanted.text is not None:
        return _SAGAS_BY_TEXT
    actor = Actor.NOBODY if wanted.step == DONE and wanted.actor is None else wanted.actor
    return _SAGAS if actor is None else _SAGAS_OF[actor]


def _board_of(wanted: SagaFilter) -> Board | None:
    """Who is at a step before the end is running: on that shelf each status has its index."""
    is_at_step = wanted.step not in (None, DONE) and wanted.actor is None
    return Board.RUNNING if wanted.board is None and is_at_step else wanted.board
