"""Owns: what makes no sense, asked of every operation: a named error each, and nothing half done.
Must not know: how flows are run.
"""

from __future__ import annotations

import uuid
from typing import Any

from ops.scenarios.returning import goods
from ops.scenarios.script import Flow, Script, payment_id, words

INVALID = "422 invalid_request"
# What is no quantity in any operation.
QUANTITIES = {"zero": 0, "negative": -1, "absurd": 10**12, "a fraction": 1.5, "a text": "2"}


def orders(script: Script) -> None:
    item, foreign, pounds = script.product(), script.product(sellerId="seller-2"), script.product(currency="GBP")
    for what, quantity in QUANTITIES.items():
        script.expect_answer(f"quantity: {what}", INVALID, "/orders", _order((item, quantity)))
    refused = {
        "unknown item": ("422 unknown_item", _order((f"no-{uuid.uuid4()}", 1))),
        "one of two unknown": ("422 unknown_item", _order((item, 1), (f"no-{uuid.uuid4()}", 1))),
        "two sellers": ("422 mixed_sellers", _order((item, 1), (foreign, 1))),
        "two currencies": ("422 mixed_currencies", _order((item, 1), (pounds, 1))),
        "wrong price": ("409 price_mismatch", _order((item, 1), price="9.99", currency="EUR")),
        "wrong currency": ("409 price_mismatch", _order((item, 1), price="10.00", currency="USD")),
        "no currency at all": (INVALID, _order((item, 1), currency="euro")),
        "a card number": (INVALID, _order((item, 1), paymentMethod="4242424242424242")),
    }
    for what, (expected, body) in refused.items():
        script.expect_answer(what, expected, "/orders", body)
    script.expect_answer("one more field", INVALID, "/orders", {**_order((item, 1)), "discount": "100%"})
    script.expect_stock(item, 10, 0)


def products(script: Script) -> None:
    item = script.product()
    good = {"item": f"new-{uuid.uuid4()}", "name": "New", "sellerId": "s", "price": "1.00", "currency": "EUR"}
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        "known item": ("409 product_exists", {"item": item, "onHand": 1}),
        "negative stock": (INVALID, {"onHand": -1}),
        "absurd stock": (INVALID, {"onHand": 10**12}),
        "price of nothing": (INVALID, {"price": "0.00", "onHand": 1}),
        "price as a number": (INVALID, {"price": 1.1, "onHand": 1}),
        "wrong currency": (INVALID, {"currency": "euro", "onHand": 1}),
    }
    for what, (expected, changes) in cases.items():
        script.expect_answer(what, expected, "/products", {**good, **changes})
    script.expect("nothing made", 404, script.client.send("GET", f"/products/{good['item']}").status)
    script.expect_stock(item, 10, 0)


def closed_orders(script: Script) -> None:
    """Everything that may be asked of an order, asked of one that is over, and of none at all."""
    item = script.product()
    order = script.ended(script.place(item, 2, paymentMethod="tok_card_declined"))
    place = f"/orders/{order['id']}"
    script.expect_answer("approve", "409 order_not_approvable", f"{place}/approve")
    script.expect_answer("decline", "409 order_not_approvable", f"{place}/decline")
    script.expect_answer("fulfil", "409 order_not_fulfillable", f"{place}/fulfil")
    script.expect_answer("return", "409 order_not_returnable", f"{place}/returns", goods(item, 1))
    script.expect_answer("cancel", "202", f"{place}/cancel")
    script.expect("unchanged", "CANCELLED (payment_failed)", words(script.order(order["id"])))
    script.expect("pay", "409 payment_not_payable", script.pay(order, "tok_success").words)
    script.expect_answer("refund", "409 payment_not_refundable", f"/payments/{payment_id(order)}/refund")
    nobody = uuid.uuid4()
    for verb in ("approve", "decline", "fulfil", "cancel"):
        script.expect_answer(f"{verb} nobody's", "404 order_not_found", f"/orders/{nobody}/{verb}")
    script.expect_answer("return nobody's", "404 order_not_found", f"/orders/{nobody}/returns", goods(item, 1))
    script.expect_stock(item, 10, 0)


def returns(script: Script) -> None:
    item = script.product()
    order = script.shipped(item, 2)
    place = f"/orders/{order['id']}/returns"
    for what, quantity in QUANTITIES.items():
        bad = {"items": [{"item": item, "quantity": quantity}], "restock": True}
        script.expect_answer(f"quantity: {what}", INVALID, place, bad)
    never = f"no-{uuid.uuid4()}"
    script.expect_answer("item never shipped", "422 return_too_large", place, goods(never, 1))
    script.expect_answer("refund below nothing", INVALID, place, goods(item, 1, refundAmount="-1.00"))
    script.expect_answer("no word on restocking", INVALID, place, {"items": [{"item": item, "quantity": 1}]})
    script.expect("nothing returned", 0, len(script.order(order["id"])["returns"]))
    script.expect_stock(item, 8, 0)


def payments(script: Script) -> None:
    order = script.ended(script.place(script.product()))
    place = f"/payments/{payment_id(order)}"
    for what, amount in {"zero": "0.00", "negative": "-1.00", "absurd": "9" * 30, "a number": 5}.items():
        script.expect_answer(f"refund: {what}", INVALID, f"{place}/refund", {"amount": amount})
    script.expect_answer("refund: another currency", INVALID, f"{place}/refund", {"amount": "1.00", "currency": "USD"})
    script.expect_answer("pay without a method", INVALID, f"{place}/confirm")
    script.expect_answer("pay what is paid", "409 payment_not_payable", f"{place}/confirm", {"paymentMethod": "tok_x"})
    nobody = f"/payments/{uuid.uuid4()}"
    script.expect_answer("pay nobody's", "404 payment_not_found", f"{nobody}/confirm", {"paymentMethod": "tok_x"})
    script.expect_answer("refund nobody's", "404 payment_not_found", f"{nobody}/refund")
    script.expect("payment unchanged", "SUCCEEDED", script.payment(order)["status"])


def stock(script: Script) -> None:
    item, never = script.product(), f"no-{uuid.uuid4()}"
    for what, quantity in QUANTITIES.items():
        lines = {"items": [{"item": item, "quantity": quantity}]}
        script.expect_answer(f"hold: {what}", INVALID, "/inventory/reserve", lines)
    unknown = {"items": [{"item": never, "quantity": 1}]}
    script.expect_answer("hold: unknown item", "422 unknown_item", "/inventory/reserve", unknown)
    both = {"items": [{"item": item, "quantity": 1}, {"item": item, "quantity": 10}]}
    script.expect_answer("hold: too much in two lines", "409 out_of_stock", "/inventory/reserve", both)
    for what, ttl_s in {"no time": 0, "two days": 172_800}.items():
        hold = {"items": [{"item": item, "quantity": 1}], "ttlSeconds": ttl_s}
        script.expect_answer(f"hold: for {what}", INVALID, "/inventory/reserve", hold)
    for what, delta in {"by nothing": 0, "absurdly": 10**12, "by a text": "1"}.items():
        body = {"item": item, "delta": delta, "reason": "x"}
        script.expect_answer(f"adjust: {what}", INVALID, "/inventory/adjust", body)
    body = {"item": never, "delta": 1, "reason": "x"}
    script.expect_answer("adjust: unknown item", "404 product_not_found", "/inventory/adjust", body)
    body = {"item": item, "delta": -11, "reason": "x"}
    script.expect_answer("adjust: below nothing", "409 conflict", "/inventory/adjust", body)
    script.expect_stock(item, 10, 0)


def _order(*lines: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {"userId": "eve", "items": [{"item": i, "quantity": q} for i, q in lines], **more}


FLOWS = (
    Flow(name="bad input: placing orders", play=orders),
    Flow(name="bad input: products", play=products),
    Flow(name="bad input: orders that are over", play=closed_orders),
    Flow(name="bad input: returns", play=returns),
    Flow(name="bad input: payments", play=payments),
    Flow(name="bad input: holds and corrections", play=stock),
)
