"""Which goods of a fulfilled order may come back, and what is given back for them. Pure, like domain.py.

Owns: never more than was shipped less what came back before; the refund; the states of a return.
Must not know: anything outside the standard library; whether the order may have returns at all (domain.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any


class ReturnStatus(StrEnum):
    """REQUESTED waits for the refund, COMPLETED had nothing to give back."""

    REQUESTED = "REQUESTED"
    REFUNDED = "REFUNDED"
    REFUND_FAILED = "REFUND_FAILED"
    COMPLETED = "COMPLETED"


AWAIT_REFUND = (ReturnStatus.REQUESTED, ReturnStatus.REFUND_FAILED)
"""A refund that failed may still succeed; what was refunded or needed no refund stays so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    """A line of the order: what was shipped, at which price for one, and how much of it came back before."""

    item: str
    quantity: int
    price: Decimal
    returned: int = 0

    @property
    def returnable(self) -> int:
        return self.quantity - self.returned


@dataclass(frozen=True, kw_only=True, slots=True)
class ReturnedLine:
    item: str
    quantity: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    lines: tuple[ReturnedLine, ...]
    refund: Decimal
    status: ReturnStatus


class CannotReturn(Exception):
    """Why goods cannot come back. ``kind`` is return_too_large or refund_too_large."""

    def __init__(self, kind: str, message: str, details: Mapping[str, Any]) -> None:
        self.kind, self.message, self.details = kind, message, details
        super().__init__(message)


def accept_return(
    wanted: Sequence[ReturnedLine], refund: Decimal | None, shipped: Sequence[Shipped], currency: str
) -> Accepted:
    """The return as it is to be recorded. Lines of one item are added up; their price is given back, or what is said.

    Raises CannotReturn: more than is still returnable, or more money than the lines cost.
    """
    quantities: dict[str, int] = {}
    for line in wanted:
        quantities[line.item] = quantities.get(line.item, 0) + line.quantity
    lines = {line.item: line for line in shipped}
    _refuse_too_many(quantities, lines)
    price = sum((lines[item].price * quantity for item, quantity in quantities.items()), Decimal(0))
    given_back = _refund(refund, price, currency)
    return Accepted(
        lines=tuple(ReturnedLine(item=item, quantity=quantity) for item, quantity in quantities.items()),
        refund=given_back,
        status=ReturnStatus.REQUESTED if given_back else ReturnStatus.COMPLETED,
    )


def _refuse_too_many(quantities: Mapping[str, int], shipped: Mapping[str, Shipped]) -> None:
    """Names every item of which too much is asked, with what is left of it: 0 for one that was never shipped."""
    returnable = {item: shipped[item].returnable if item in shipped else 0 for item in quantities}
    too_many = {item: left for item, left in returnable.items() if quantities[item] > left}
    if too_many:
        said = ", ".join(f"{left} of {item}" for item, left in sorted(too_many.items()))
        raise CannotReturn("return_too_large", f"can still be returned: {said}", {"items": too_many})


def _refund(wanted: Decimal | None, price: Decimal, currency: str) -> Decimal:
    if wanted is None:
        return price
    if wanted > price:
        details = {"refundable": str(price), "currency": currency}
        raise CannotReturn("refund_too_large", f"these lines cost {price} {currency}", details)
    return wanted
