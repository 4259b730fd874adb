"""What order and inventory must agree on: stock, what is ordered, what came back. Pure.

Owns: these differences. Must not know: money, who is asked, whether an order is at rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from gateway.admin.reconcile.kinds import Discrepancy, Repair
from gateway.admin.reconcile.sides import SAY_PAYMENT, SAY_STOCK, Side, Sides, say_order

_HELD, _GONE = "RESERVED", "COMMITTED"
_NO_HOLDING: Side = {"status": "OPEN", "reservation": None, "items": {}, "returns": [], "isCancelled": False}


def goods_of(sides: Sides) -> Iterator[Discrepancy]:
    """Of an order that exists."""
    order, goods = sides.order or {}, sides.goods or _NO_HOLDING
    if _contradicts_itself(goods):
        yield _differs(sides, "holding_differs")
        return
    if goods["status"] != "OPEN" and goods["items"] and goods["items"] != order["items"]:
        yield _differs(sides, "lines_differ", order=_lines(order["items"]), inventory=_lines(goods["items"]))
    if not sides.waits:
        yield from _stock(sides, order, goods)
        yield from _returns(sides, order, goods)


def goods_of_unknown(sides: Sides) -> Iterator[Discrepancy]:
    goods = sides.goods
    if goods is not None and goods["reservation"] in (_HELD, _GONE):
        repair = say_order("ORDER_CANCELLED") if goods["reservation"] == _HELD else None
        yield _differs(sides, "stock_of_unknown_order", repair, order="unknown")


def _contradicts_itself(goods: Side) -> bool:
    expected = {"HELD": _HELD, "COMMITTED": _GONE}.get(goods["status"])
    if expected is not None:
        return bool(goods["reservation"] != expected)
    return goods["reservation"] in (_HELD, _GONE)


def _stock(sides: Sides, order: Side, goods: Side) -> Iterator[Discrepancy]:
    is_held, is_gone = goods["reservation"] == _HELD, goods["reservation"] == _GONE
    match order["status"]:
        case "CANCELLED" if is_held:
            yield _differs(sides, "stock_held_for_cancelled", say_order("ORDER_CANCELLED"))
        case "CONFIRMED" if is_gone and order["isShipping"]:
            yield _differs(sides, "shipment_unheard", SAY_STOCK)
        case "FULFILLED" if is_held:
            yield _differs(sides, "shipped_but_held", say_order("ORDER_FULFILLED"))
        case "FULFILLED" if not is_gone:
            yield _differs(sides, "shipped_without_stock")
        case "CONFIRMED" if not is_held and not is_gone:
            yield _differs(sides, "confirmed_without_stock", _stock_for_paid(goods))
        case "CANCELLED" | "CONFIRMED" | "PENDING" | "RESERVED" if is_gone:
            yield _differs(sides, "stock_gone_for_unshipped")
        case "CANCELLED" if not order["isSettled"] and order["stock"] != "FREE":
            yield from _unanswered(sides, goods)
        case "PENDING" | "RESERVED" if goods["status"] in ("REJECTED", "EXPIRED", "RELEASED"):
            yield _differs(sides, "stock_answer_unheard", SAY_STOCK)


def _stock_for_paid(goods: Side) -> Repair | None:
    """What expired is held again, or rejected, once inventory hears of the payment; a rejection cancels and refunds."""
    return {"EXPIRED": SAY_PAYMENT, "REJECTED": SAY_STOCK}.get(goods["status"])


def _unanswered(sides: Sides, goods: Side) -> Iterator[Discrepancy]:
    if goods["status"] in ("RELEASED", "REJECTED"):
        yield _differs(sides, "stock_answer_unheard", SAY_STOCK)
    else:
        yield _differs(sides, "cancellation_unheard", say_order("ORDER_CANCELLED"))


def _returns(sides: Sides, order: Side, goods: Side) -> Iterator[Discrepancy]:
    theirs = {returned["id"]: returned for returned in goods["returns"]}
    back: Counter[str] = Counter()
    for returned in order["returns"]:
        back.update(returned["items"])
        known = theirs.pop(returned["id"], None)
        if known is None:
            repair = say_order("ORDER_RETURNED", returned["id"])
            yield _differs(sides, "return_unheard", repair, returned["id"], inventory="unknown")
        elif (known["items"], known["restocked"]) != (returned["items"], returned["restock"]):
            says = {"order": _lines(returned["items"]), "inventory": _lines(known["items"])}
            yield _differs(sides, "return_differs", None, returned["id"], **says)
    for id_, known in theirs.items():
        yield _differs(sides, "return_differs", None, id_, order="unknown", inventory=_lines(known["items"]))
    if any(quantity > order["items"].get(item, 0) for item, quantity in back.items()):
        yield _differs(sides, "return_differs", order=f"{_lines(dict(back))} of {_lines(order['items'])}")


def _differs(
    sides: Sides, code: str, repair: Repair | None = None, subject: str | None = None, **says: str
) -> Discrepancy:
    order, goods = sides.order, sides.goods
    told = {
        "order": _order_says(order) if order else "unknown",
        "inventory": f"{goods['status']}, reservation {goods['reservation']}" if goods else "unknown",
    }
    return Discrepancy(code=code, order_id=sides.order_id, subject=subject, says={**told, **says}, repair=repair)


def _order_says(order: Side) -> str:
    settled = "" if order["status"] != "CANCELLED" else ", settled" if order["isSettled"] else ", not settled"
    return f"{order['status']}{settled}, stock {order['stock']}"


def _lines(items: Side) -> str:
    return ", ".join(f"{quantity} {item}" for item, quantity in sorted(items.items())) or "nothing"
