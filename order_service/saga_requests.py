"""Answers to operators who look at sagas or help one on.

Owns: from RPC arguments to filters and commands, and from rows to answers. Must not know: Nameko, HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from order_service import archive, board, commands, reading, saga_commands
from order_service.access import order_not_found, refuse_all_but_operators
from order_service.commands import Asking
from order_service.deadlines import Wait, waits_for
from order_service.domain import allowed_actions
from order_service.listing_schemas import said
from order_service.requests import in_causal_order, read_order_id
from order_service.saga_schemas import ExpectedView, NoteSchema, SagaStepView, SagasWanted, SagaView
from order_service.saga_search import SagaFilter, find_sagas
from order_service.settings import Settings
from order_service.states import Order
from shared.choreography import load_choreography
from shared.database import Transaction
from shared.event_schema import load_request, moment_text
from shared.idempotency import check_request_ids, once, owned_key
from shared.identity import Identity, Party

_SAGAS, _NOTE = SagasWanted(), NoteSchema()
_SAGA, _STEP, _EXPECTED = SagaView(), SagaStepView(), ExpectedView()
_SERVICES = {board.Actor.INVENTORY: "inventory_service", board.Actor.PAYMENT: "payment_service"}


def list_sagas(tx: Transaction, caller: Identity, **arguments: Any) -> dict[str, Any]:
    """A page of the saga board: what is flagged first, then newest first. Raises Forbidden, InvalidRequest."""
    refuse_all_but_operators(caller)
    wanted: SagaFilter = load_request(_SAGAS, said(**arguments), "the list")
    found = find_sagas(tx, replace(wanted, limit=wanted.limit + 1))
    page = found[: wanted.limit]
    ids = [id_ for _, id_ in page]
    orders, moved = reading.order_rows(tx, ids), reading.moved_at(tx, ids)
    return {
        "sagas": [_saga(*orders[id_], moved) for id_ in ids if id_ in orders],
        "nextCursor": f"{page[-1][0]}.{page[-1][1]}" if len(found) > wanted.limit else None,
        "asOf": moment_text(tx.now),
    }


def _saga(order: Order, row: Mapping[str, Any], moved: Mapping[UUID, datetime]) -> Any:
    since = moved.get(order.id, row["created_at"])
    turn = {"waits_for": board.awaited(order), "step": board.step_of(order), "moved_at": since}
    return _SAGA.dump({**row, **turn})


def get_saga(tx: Transaction, caller: Identity, order_id: Any, settings: Settings) -> dict[str, Any]:
    """The saga with its timeline and what is still expected. Raises Forbidden, OrderNotFound."""
    refuse_all_but_operators(caller)
    id_ = read_order_id(order_id)
    found = reading.order_row(tx, id_)
    if found is None:
        return _archived_saga(tx, id_)
    order, row = found
    saga = _saga(order, row, reading.moved_at(tx, [id_]))
    timeline = in_causal_order(reading.event_rows(tx, id_))
    return {
        **saga,
        "asOf": moment_text(tx.now),
        "isWhole": order.is_whole,
        "isArchived": False,
        "atDeadline": _at_deadline(order, settings),
        "allowedActions": list(allowed_actions(order)),
        "timeline": _timeline(timeline, row["created_at"]),
        "expected": [_expected(order, step) for step in board.expected(order, _answers)],
    }


def _archived_saga(tx: Transaction, order_id: UUID) -> dict[str, Any]:
    found = archive.find(tx, order_id)
    if found is None:
        raise order_not_found(order_id)
    order = archive.order_answer(found)
    names = ("status", "reason", "userId", "sellerId", "correlationId", "flag", "flaggedAt", "allowedActions")
    started = datetime.fromisoformat(order["createdAt"])
    return {
        "orderId": order["id"],
        **{name: order[name] for name in names},
        "waitsFor": board.Actor.NOBODY,
        "step": board.DONE,
        "since": order["updatedAt"],
        "until": None,
        "startedAt": order["createdAt"],
        "asOf": moment_text(tx.now),
        "isWhole": True,
        "isArchived": True,
        "atDeadline": None,
        "timeline": _timeline([_row(event) for event in order["timeline"]], started),
        "expected": [],
    }


def _row(event: Mapping[str, Any]) -> dict[str, Any]:
    """An archived line of a timeline as the row that it was."""
    causation_id = event["causationId"]
    return {
        "event_id": UUID(event["eventId"]),
        "event_type": event["type"],
        "source": event["source"],
        "causation_id": UUID(causation_id) if causation_id else None,
        "occurred_at": datetime.fromisoformat(event["at"]),
        "recorded_at": datetime.fromisoformat(event["recordedAt"]),
        "decision": event["decision"],
        "note": event["note"],
    }


def _timeline(rows: Sequence[Mapping[str, Any]], started: datetime) -> list[Any]:
    at = {row["event_id"]: row["occurred_at"] for row in rows}
    return [
        _STEP.dump(
            {
                **row,
                "after_cause_s": _seconds(at.get(row["causation_id"]), row["occurred_at"]),
                "after_start_s": _seconds(started, row["occurred_at"]),
            }
        )
        for row in rows
    ]


def _seconds(begin: datetime | None, end: datetime) -> float | None:
    """Clocks of two services may differ: what comes before its cause took no time at all."""
    return None if begin is None else max(round((end - begin).total_seconds(), 6), 0.0)


def _expected(order: Order, step: board.Expected) -> Any:
    return _EXPECTED.dump(
        {
            "who": step.who,
            "events": step.events,
            "answers_to": step.answers_to,
            "is_next": step.is_next,
            "until": order.deadline_at if step.is_next else None,
        }
    )


def _answers(event_type: str, who: str) -> tuple[str, ...]:
    service = _SERVICES.get(board.Actor(who)) if who in list(board.Actor) else "order_service"
    consumers = _choreography().events[event_type].consumers
    return next(consumer.answers for consumer in consumers if consumer.service == service)


@lru_cache(maxsize=1)
def _choreography() -> Any:
    return load_choreography()


def _at_deadline(order: Order, settings: Settings) -> str | None:
    """cancel or flag: as the settings and choreography.yml have it. None where no deadline is to come."""
    match waits_for(order):
        case None:
            return None
        case Wait.APPROVAL:
            return "cancel"
        case Wait.ANSWER | Wait.PAYMENT if not settings.rules.flags_overdue:
            return "cancel"
    return "flag"


Command = Callable[[Transaction, Asking, str, Settings], None]


def _resolve(tx: Transaction, asking: Asking, note: str, _settings: Settings) -> None:
    saga_commands.resolve(tx, asking, note)


def _cancel(tx: Transaction, asking: Asking, note: str, settings: Settings) -> None:
    commands.cancel_order(tx, asking, settings, note=note)


# By the names of their entrypoints, which are those of their lines in the audit log too.
_COMMANDS: Mapping[str, Command] = {
    "nudge_saga": saga_commands.nudge,
    "resolve_saga": _resolve,
    "cancel_saga": _cancel,
}


def steer_saga(
    tx: Transaction,
    caller: Identity,
    command: str,
    order_id: Any,
    note: Any,
    idempotency_key: Any,
    correlation_id: Any,
    settings: Settings,
) -> dict[str, Any]:
    """{"saga", "replayed"}: ``nudge_saga``, ``resolve_saga`` or ``cancel_saga`` (the operator's cancel).

    Raises Forbidden, InvalidRequest, what the command raises, and what `once` raises.
    """
    refuse_all_but_operators(caller)
    check_request_ids(idempotency_key, correlation_id)
    said_note: str = load_request(_NOTE, {"note": note})["note"]
    asking = Asking(caller=caller, order_id=read_order_id(order_id), by=Party.OPERATOR, correlation_id=correlation_id)

    def carry_out() -> dict[str, Any]:
        _COMMANDS[command](tx, asking, said_note, settings)
        return get_saga(tx, caller, str(asking.order_id), settings)

    request = {"orderId": str(asking.order_id), "note": said_note}
    saga, replayed = once(tx, command, owned_key(caller, idempotency_key), request, carry_out)
    return {"saga": saga, "replayed": replayed}
