"""What differs between the sides of one order. Pure.

Owns: which comparisons there are for which order, and when a difference counts. Must not know: who is asked.

While an order is under way its sides differ all the time, and its own timers see to it that it ends: then only what
must hold at every moment is compared. And nothing counts that something happened to just now, on any side: it is to be
looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.admin.reconcile.goods import goods_of, goods_of_unknown
from gateway.admin.reconcile.kinds import Discrepancy
from gateway.admin.reconcile.money import books_of, money_of, money_of_unknown
from gateway.admin.reconcile.sides import Sides, republish


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """``unsettled``: orders whose sides differ, but to which something happened just now."""

    discrepancies: tuple[Discrepancy, ...] = ()
    unsettled: tuple[str, ...] = ()


def compare(all_sides: Iterable[Sides], quiet_s: float) -> Verdict:
    found: list[Discrepancy] = []
    unsettled: list[str] = []
    for sides in all_sides:
        differences = list(_differences(sides))
        if differences and sides.is_at_rest(quiet_s):
            found += differences
        elif differences:
            unsettled.append(sides.order_id)
    return Verdict(discrepancies=tuple(found), unsettled=tuple(unsettled))


def confirmed(first: Verdict, second: Verdict) -> Verdict:
    """What was found both times; what was found once only is to be looked at again."""
    again = {difference.key for difference in second.discrepancies}
    stays = tuple(difference for difference in first.discrepancies if difference.key in again)
    others = {d.order_id for d in first.discrepancies if d not in stays and d.order_id}
    return Verdict(
        discrepancies=stays, unsettled=tuple(dict.fromkeys([*first.unsettled, *second.unsettled, *sorted(others)]))
    )


def _differences(sides: Sides) -> Iterator[Discrepancy]:
    order = sides.order
    if order is not None and order.get("isArchived"):
        return
    yield from books_of(sides)
    if order is None:
        yield from goods_of_unknown(sides)
        yield from money_of_unknown(sides)
        return
    specific = [*goods_of(sides), *_gaps(sides)]
    if not sides.waits:
        specific += money_of(sides)
    # Said once: both sides may lack the same word.
    yield from {difference.key: difference for difference in specific}.values()
    yield from _flagged(sides, is_explained=bool(specific))


def _gaps(sides: Sides) -> Iterator[Discrepancy]:
    for gap in (sides.order or {})["gaps"]:
        yield Discrepancy(
            code="timeline_gap",
            order_id=sides.order_id,
            subject=gap["causationId"],
            says={"order": f"{gap['type']} was caused by an event that is not there"},
            repair=republish(gap["causationId"]),
        )


def _flagged(sides: Sides, *, is_explained: bool) -> Iterator[Discrepancy]:
    order = sides.order or {}
    words = f"{order['status']}, flagged {order['flag']}" if order["flag"] else f"{order['status']}, overdue"
    says = {"order": f"{words}, waits for {order['waitsFor']} until {order['deadlineAt']}"}
    if order["flag"] == "refund_failed":
        yield Discrepancy(code="refund_failed", order_id=sides.order_id, says={"order": words})
    elif not is_explained and order["waitsFor"] is not None and not sides.waits:
        yield Discrepancy(code="order_unended", order_id=sides.order_id, says=says)
