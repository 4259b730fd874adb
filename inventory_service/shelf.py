"""Counting of stock while a batch is decided. Pure, like domain.py.

Owns: what is available, and sums of lines and of movements. Must not know: anything outside the standard library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from inventory_service.happenings import Rejected
from inventory_service.states import Line, Movement


class Shelf:
    """Units available per item while a batch is decided: what one order takes, the next one cannot have.

    The rows behind it are locked, so what it says is true until the transaction ends.
    """

    def __init__(self, available: Mapping[str, int]) -> None:
        self._available = dict(available)

    def missing(self, lines: Iterable[Line]) -> Rejected | None:
        """Why these lines cannot all be had, or None."""
        wanted = added_up(lines)
        unknown = tuple(sorted(item for item in wanted if item not in self._available))
        if unknown:
            return Rejected(reason="unknown_item", short=unknown)
        short = tuple(sorted(item for item, quantity in wanted.items() if self._available[item] < quantity))
        return Rejected(reason="out_of_stock", short=short) if short else None

    def move(self, movements: Iterable[Movement]) -> None:
        for movement in movements:
            if movement.item in self._available:
                self._available[movement.item] += movement.delta_on_hand - movement.delta_reserved


def added_up(lines: Iterable[Line]) -> dict[str, int]:
    quantities: dict[str, int] = {}
    for line in lines:
        quantities[line.item] = quantities.get(line.item, 0) + line.quantity
    return quantities


def totals(movements: Sequence[Movement]) -> dict[str, tuple[int, int]]:
    """Item → (delta on hand, delta reserved), added up; items without a change are left out."""
    added: dict[str, tuple[int, int]] = {}
    for movement in movements:
        on_hand, reserved = added.get(movement.item, (0, 0))
        added[movement.item] = (on_hand + movement.delta_on_hand, reserved + movement.delta_reserved)
    return {item: delta for item, delta in added.items() if delta != (0, 0)}
