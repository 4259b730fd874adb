"""Owns: goods that come back, and what is given back for them. Must not know: how flows are run."""

from __future__ import annotations

from typing import Any

from ops.scenarios.script import Flow, Script, money, payment_id, words


def returned(script: Script) -> None:
    item = script.product()
    order = script.shipped(item, 3)
    place = f"/orders/{order['id']}/returns"
    script.expect_answer("more than shipped", "422 return_too_large", place, goods(item, 4))
    script.expect_answer("one of three, onto the shelf", "202", place, goods(item, 1))
    script.expect("payment", "PARTIALLY_REFUNDED, 10.00 of 30.00 refunded", _refunded(script, order, "10.00"))
    _expect_stock_soon(script, item, "8 on hand, 0 reserved")
    script.expect_answer("more than is left", "422 return_too_large", place, goods(item, 3))
    script.expect_answer("the rest, broken", "202", place, goods(item, 2, restock=False))
    script.expect("payment", "REFUNDED, 30.00 of 30.00 refunded", _refunded(script, order, "30.00"))
    ended = script.order_when(order["id"], lambda o: _statuses(o) == "REFUNDED REFUNDED", "both are refunded")
    script.expect("order stays", "FULFILLED", words(ended))
    script.expect("stock", "8 on hand, 0 reserved", script.stock(item))
    script.expect_answer("one more", "422 return_too_large", place, goods(item, 1))


def for_less(script: Script) -> None:
    """A lower refund, or none, may be agreed; a higher one not."""
    item = script.product()
    order = script.shipped(item, 3)
    place = f"/orders/{order['id']}/returns"
    script.expect_answer("more than its price", "422 refund_too_large", place, goods(item, 1, refundAmount="10.01"))
    script.expect_answer("worn: 4.00 of 10.00", "202", place, goods(item, 1, refundAmount="4.00"))
    script.expect("payment", "PARTIALLY_REFUNDED, 4.00 of 30.00 refunded", _refunded(script, order, "4.00"))
    script.expect_answer("for nothing", "202", place, goods(item, 1, refundAmount="0.00"))
    script.order_when(order["id"], lambda o: _statuses(o) == "COMPLETED REFUNDED", "both have ended")
    script.expect("payment", "PARTIALLY_REFUNDED, 4.00 of 30.00 refunded", money(script.payment(order)))
    _expect_stock_soon(script, item, "9 on hand, 0 reserved")


def repeated(script: Script) -> None:
    item = script.product()
    order = script.shipped(item, 2)
    place, key = f"/orders/{order['id']}/returns", f"return-{order['id']}"
    first = script.expect_answer("return", "202", place, goods(item, 1), key=key)
    again = script.expect_answer("the same again", "202", place, goods(item, 1), key=key)
    script.expect("the same return", first.body["id"], again.body["id"])
    script.expect_answer("with other goods", "422 idempotency_key_reused", place, goods(item, 2), key=key)
    script.expect("payment", "PARTIALLY_REFUNDED, 10.00 of 20.00 refunded", _refunded(script, order, "10.00"))
    script.expect("returns", 1, len(script.order(order["id"])["returns"]))


def nothing_left(script: Script) -> None:
    """The money went back by hand before the goods did: the return says that there is none left."""
    item = script.product()
    order = script.shipped(item)
    script.expect_answer("refund by hand", "202", f"/payments/{payment_id(order)}/refund")
    _refunded(script, order, "10.00")
    script.expect("order stays", "FULFILLED", words(script.order(order["id"])))
    script.expect_answer("return", "202", f"/orders/{order['id']}/returns", goods(item, 1))
    ended = script.order_when(order["id"], lambda o: _statuses(o) == "REFUND_FAILED", "the return has ended")
    script.expect("payment", "REFUNDED, 10.00 of 10.00 refunded", money(script.payment(ended)))
    _expect_stock_soon(script, item, "10 on hand, 0 reserved")


def not_shipped(script: Script) -> None:
    item = script.product()
    order_id = script.ended(script.place(item))["id"]
    script.expect_answer("return", "409 order_not_returnable", f"/orders/{order_id}/returns", goods(item, 1))
    script.expect_stock(item, 10, 1)


def goods(item: str, quantity: int, *, restock: bool = True, **more: str) -> dict[str, Any]:
    return {"items": [{"item": item, "quantity": quantity}], "restock": restock, **more}


def _refunded(script: Script, order: dict[str, Any], total: str) -> str:
    script.order_when(order["id"], lambda o: o["refunded"] == total, f"{total} is back")
    return money(script.payment(order))


def _statuses(order: Any) -> str:
    return " ".join(sorted(return_["status"] for return_ in order["returns"]))


def _expect_stock_soon(script: Script, item: str, expected: str) -> None:
    """Inventory hears of the return by itself, in its own time."""
    script.until(lambda: script.stock(item) == expected, lambda: f"{expected} (it is {script.stock(item)})")
    script.expect("stock", expected, script.stock(item))


FLOWS = (
    Flow(name="returns: a part with restock, the rest without", play=returned),
    Flow(name="returns: for less than the price, for nothing", play=for_less),
    Flow(name="returns: the same request twice", play=repeated),
    Flow(name="returns: after the money went back by hand", play=nothing_left),
    Flow(name="returns: of what was never shipped", play=not_shipped),
)
