"""Which rows of an outbox may be in flight together, and which have to wait for others.

Owns: one row of an aggregate at a time, the lowest first; what a refused row holds back, and for how long.
Must not know: where rows come from, nor how they are published. Pure: the standard library only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Generic, Protocol, TypeVar


class Row(Protocol):
    @property
    def id(self) -> int: ...

    @property
    def aggregate_id(self) -> str: ...


R = TypeVar("R", bound=Row)


def first_of_each_aggregate(rows: Iterable[R]) -> Iterable[R]:
    """Later rows of an aggregate wait for the next window, so that a refused one cannot be overtaken."""
    seen: set[str] = set()
    for row in rows:
        if row.aggregate_id not in seen:
            seen.add(row.aggregate_id)
            yield row


class RowsInHand(Generic[R]):
    """Rows that were taken and are not settled yet, by id; and ``held``: the aggregates that changes do not move.

    A change is told once. Where an earlier row of its aggregate was refused, it is not kept here, as that may take
    days: it stays in the table, its aggregate is held, and is read from the table again and again until it has nothing
    unpublished left. Then changes move it again.
    """

    def __init__(self) -> None:
        self._rows: list[R] = []
        self._held: set[str] = set()

    @property
    def held(self) -> frozenset[str]:
        return frozenset(self._held)

    @property
    def is_empty(self) -> bool:
        return not self._rows

    def add_changes(self, rows: Iterable[R]) -> None:
        """Rows of the write-ahead log that are in the table, and unpublished there."""
        self.add_read(row for row in rows if row.aggregate_id not in self._held)

    def add_read(self, rows: Iterable[R]) -> None:
        """Rows read from the table, which knows what is parked and what is behind it."""
        by_id = {row.id: row for row in (*rows, *self._rows)}
        self._rows = [by_id[id_] for id_ in sorted(by_id)]

    def window(self, most: int) -> list[R]:
        return list(islice(first_of_each_aggregate(self._rows), most))

    def settled(self, confirmed: Collection[int], refused: Collection[int]) -> None:
        """Whatever is behind a refused row leaves the hand with it."""
        published = set(confirmed)
        barred = {row.aggregate_id for row in self._rows if row.id in refused}
        self.hold(barred)
        self._rows = [row for row in self._rows if row.id not in published and row.aggregate_id not in barred]

    def hold(self, aggregates: Iterable[str]) -> None:
        self._held.update(aggregates)

    def free_all_but(self, waiting: Iterable[str]) -> None:
        """``waiting``: those of the held ones that have unpublished rows in the table, refused or not."""
        self._held.intersection_update(waiting)

    def drop(self) -> None:
        """Let go of everything: what is not settled is still in the table."""
        self._rows.clear()
        self._held.clear()
