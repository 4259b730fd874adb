"""Owns: checkout as it goes when nothing is in the way but cards and stock. Must not know: how flows are run."""

from __future__ import annotations

import threading
import uuid
from typing import Any

from ops.gateway_client import Answer
from ops.scenarios.script import Flow, Script, charges, count, money, types, words

DECLINES = {
    "tok_insufficient_funds": "insufficient_funds",
    "tok_card_declined": "card_declined",
    "tok_expired_card": "expired_card",
    "tok_limit_exceeded": "limit_exceeded",
    "tok_fraud": "fraud_suspected",
    "tok_nobody_issued": "card_declined",
}
_HAPPY = (
    "ORDER_CREATED INVENTORY_RESERVED PAYMENT_SUCCESS ORDER_CONFIRMED "
    "FULFILMENT_REQUESTED ORDER_FULFILLED INVENTORY_COMMITTED"
)


def happy_path(script: Script) -> None:
    item = script.product()
    order_id = script.place(item, 2)
    script.expect("order", "CONFIRMED", words(script.ended(order_id)))
    script.expect_stock(item, 10, 2)
    key = str(uuid.uuid4())
    script.expect_answer("fulfil", "202", f"/orders/{order_id}/fulfil", {"tracking": "DHL 7"}, key=key)
    order = script.fulfilled(order_id)
    script.expect("order", "FULFILLED", words(order))
    # On a busy machine half of a deadline may pass, and an event goes out once more.
    told = [type_ for type_ in types(order) if type_ != "HALF_DEADLINE_PASSED"]
    script.expect("timeline", _HAPPY, " ".join(told))
    script.expect("tracking", "DHL 7", order["tracking"])
    script.expect_stock(item, 8, 0)
    script.expect("payment", "SUCCEEDED, 0.00 of 20.00 refunded", money(script.payment(order)))
    again = script.expect_answer("fulfil again", "202", f"/orders/{order_id}/fulfil", {"tracking": "DHL 7"}, key=key)
    script.expect("answered from memory", True, again.is_replayed)
    script.expect_answer("cancel after fulfil", "409 order_not_cancellable", f"/orders/{order_id}/cancel")
    script.expect("shipped once", 1, count(script.order(order_id), "ORDER_FULFILLED"))


def declined_cards(script: Script) -> None:
    item = script.product()
    placed = {token: script.place(item, 2, paymentMethod=token) for token in DECLINES}
    for token, reason in DECLINES.items():
        order = script.ended(placed[token])
        script.expect(token, "CANCELLED (payment_failed)", words(order))
        script.expect(f"{token}: charge", reason, charges(script.payment(order)))
    script.expect_stock(item, 10, 0)


def out_of_stock(script: Script) -> None:
    plenty, scarce = script.product(on_hand=10), script.product(on_hand=1)
    lines = [{"item": plenty, "quantity": 2}, {"item": scarce, "quantity": 2}]
    order = script.ended(script.client.post("/orders", {"userId": "cyd", "items": lines})["id"])
    script.expect("order", "CANCELLED (out_of_stock)", words(order))
    script.expect("all lines or none", "10 on hand, 0 reserved", script.stock(plenty))
    script.expect("charged", 0, count(order, "PAYMENT_SUCCESS"))


def last_piece(script: Script) -> None:
    item = script.product(on_hand=1)
    body = {"userId": "ada", "items": [{"item": item, "quantity": 1}]}
    answers = at_once([lambda: script.ask("/orders", body)] * 2)
    orders = [script.ended(answer.body["id"]) for answer in answers]
    script.expect("orders", "CANCELLED (out_of_stock) and CONFIRMED", " and ".join(sorted(map(words, orders))))
    script.expect_stock(item, 1, 1)


def same_key(script: Script) -> None:
    item, key = script.product(), str(uuid.uuid4())
    body = {"userId": "ada", "items": [{"item": item, "quantity": 1}]}
    first = script.expect_answer("first", "202", "/orders", body, key=key)
    again = script.expect_answer("the same again", "202", "/orders", body, key=key)
    script.expect("the same order", first.body["id"], again.body["id"])
    script.expect("answered from memory", True, again.is_replayed)
    other = {**body, "paymentMode": "manual"}
    script.expect_answer("with another body", "422 idempotency_key_reused", "/orders", other, key=key)
    script.ended(first.body["id"])
    script.expect("one order's stock", "10 on hand, 1 reserved", script.stock(item))
    theirs = {**body, "userId": "bob"}
    bobs = script.expect_answer("the same key of somebody else", "202", "/orders", theirs, key=key)
    script.ended(bobs.body["id"])
    script.expect("stock of two orders", "10 on hand, 2 reserved", script.stock(item))


def same_key_at_once(script: Script) -> None:
    item, key = script.product(), str(uuid.uuid4())
    body = {"userId": "ada", "items": [{"item": item, "quantity": 1}]}
    answers = at_once([lambda: script.ask("/orders", body, key=key)] * 8)
    usual = {"202", "409 idempotency_key_in_progress"}
    script.expect("answers", 8, len(answers))
    script.expect("each of them", "202 or in progress", _unusual(answers, usual) or "202 or in progress")
    ids = {answer.body["id"] for answer in answers if answer.status == 202}
    script.expect("orders", 1, len(ids))
    script.ended(ids.pop())
    script.expect("one order's stock", "10 on hand, 1 reserved", script.stock(item))


def at_once(calls: list[Any]) -> list[Answer]:
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda call=call: answers.append(call())) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _unusual(answers: list[Answer], usual: set[str]) -> str:
    return ", ".join(sorted({answer.words for answer in answers} - usual))


FLOWS = (
    Flow(name="happy path, through fulfilment", play=happy_path),
    Flow(name="a declined card rolls back", play=declined_cards),
    Flow(name="out of stock", play=out_of_stock),
    Flow(name="two customers, one piece", play=last_piece),
    Flow(name="the same Idempotency-Key twice", play=same_key),
    Flow(name="the same Idempotency-Key at once", play=same_key_at_once),
)
