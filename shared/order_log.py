"""Log lines about many orders at once: a list of orders, and beside it lists of what each line says of each.

Owns: the shape of such lines, which `ordersaga logs --order` takes apart, and how long one may get.
Must not know: what happened to the orders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from shared.envelope import Received
from shared.logs import say_often

MOST_IN_A_LINE = 100
"""Docker and other collectors of logs split lines of more than 16 KB."""

Columns = Mapping[str, Sequence[object]]
"""Lists of one length; the one named ``orders`` has the ids of orders, or None where it is not about an order."""


def say_in_parts(log: Any, name: str, columns: Columns, **fields: object) -> None:
    """A line at INFO for each MOST_IN_A_LINE; none for none."""
    for part in _parts(columns):
        say_often(log, name, **fields, **part)


def errors_in_parts(log: Any, name: str, columns: Columns, **fields: object) -> None:
    """The same at ERROR."""
    for part in _parts(columns):
        log.error(name, **fields, **as_texts(part))


def _parts(columns: Columns) -> Iterator[dict[str, Sequence[object]]]:
    count = len(next(iter(columns.values())))
    for start in range(0, count, MOST_IN_A_LINE):
        yield {column: values[start : start + MOST_IN_A_LINE] for column, values in columns.items()}


def as_texts(columns: Columns) -> dict[str, list[str | None]]:
    """For lines that go the usual way."""
    return {name: [None if v is None else str(v) for v in values] for name, values in columns.items()}


def ids_of(events: Sequence[Received[Any]]) -> dict[str, list[UUID | None]]:
    """Columns for a batch: which orders, by which events."""
    return {
        "orders": [getattr(event.body, "order_id", None) for event in events],
        "event_ids": [event.envelope.event_id for event in events],
    }
