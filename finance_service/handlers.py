"""A batch of the stream: read → decide → save, in one transaction with the place where reading goes on.

Owns: what becomes of a batch, and that none is applied twice. Must not know: how it came here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from finance_service import queries
from finance_service.domain import Arrived, Place, RowChange, Table, Told, newest, progress_of
from finance_service.schemas import read_message
from shared.database import Transaction
from shared.errors import InvalidPayload, TransientError

SERVICE = "finance_service"
# Refunds and payments look at nobody; captures are dated once all rows are there.
_IN_ORDER = (Table.ORDERS, Table.PAYMENTS, Table.REFUNDS, Table.LEDGER)

Refused = Callable[[Arrived, InvalidPayload], object]


class Overtaken(TransientError):
    """Another feed has read on from the same place: what this one has in hand is applied already."""

    code = "feed_overtaken"


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What a batch came to. ``rows``: by table, those that are as told now; ``changes``: by table, told of."""

    place: Place
    rows: Mapping[Table, int] = field(default_factory=dict)
    changes: Mapping[Table, int] = field(default_factory=dict)
    unreadable: int = 0


def apply_batch(
    tx: Transaction, stream: str, expected: Place | None, arrived: Sequence[Arrived], refused: Refused
) -> Applied:
    """Apply ``arrived``, which follow ``expected`` in the stream without a gap, and move the place behind them.

    What cannot be read is told to ``refused`` and left out. Raises Overtaken if the place is not the expected one.
    """
    if queries.place_for_update(tx, stream) != expected:
        raise Overtaken("another feed has read on")
    told, unreadable = _read(arrived, refused)
    changes = _by_table(told)
    rows = {table: queries.apply_changes(tx, table, changes[table]) for table in _IN_ORDER if changes[table]}
    queries.date_captures(tx, _orders_with_money(changes))
    queries.save_progress(tx, progress_of(told))
    queries.move(tx, stream, arrived[-1], messages=len(arrived), unreadable=unreadable)
    return Applied(
        place=Place(next_offset=arrived[-1].offset + 1, last_message_id=arrived[-1].message_id),
        rows=rows,
        changes={table: len(found) for table, found in changes.items() if found},
        unreadable=unreadable,
    )


def leave_out(tx: Transaction, stream: str, expected: Place | None, arrived: Arrived) -> Applied:
    """Move the place behind a message that the database refuses: it would be refused for ever."""
    if queries.place_for_update(tx, stream) != expected:
        raise Overtaken("another feed has read on")
    queries.move(tx, stream, arrived, messages=1, unreadable=1)
    place = Place(next_offset=arrived.offset + 1, last_message_id=arrived.message_id)
    return Applied(place=place, unreadable=1)


def _read(arrived: Sequence[Arrived], refused: Refused) -> tuple[list[Told], int]:
    told: list[Told] = []
    unreadable = 0
    for message in arrived:
        try:
            one = read_message(message.body)
        except InvalidPayload as error:
            refused(message, error)
            unreadable += 1
        else:
            told += [one] if one is not None else []
    return told, unreadable


def _by_table(told: Sequence[Told]) -> dict[Table, list[RowChange]]:
    changes: dict[Table, list[RowChange]] = {table: [] for table in Table}
    for change in newest(one for one in told if isinstance(one, RowChange)):
        changes[change.table].append(change)
    return changes


def _orders_with_money(changes: Mapping[Table, Sequence[RowChange]]) -> list[str]:
    told = [change.row for table in (Table.PAYMENTS, Table.LEDGER) for change in changes[table]]
    return [row["order_id"] for row in told if row is not None]
