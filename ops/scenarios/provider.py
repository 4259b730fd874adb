"""Owns: payments at a provider that is slow, silent, forgetful or talks too much. Must not know: how flows are run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from ops.scenarios.script import Flow, Script, charges, count, ended_charges, money, words

_CARD = {"expMonth": 12, "expYear": 2099, "cvc": "123"}
_WEBHOOK = {
    "id": "evt_forged",
    "type": "charge.succeeded",
    "data": {"key": "00000000-0000-4000-8000-000000000000", "reference": "psp_forged", "status": "succeeded"},
    "createdAt": "2026-01-01T12:00:00Z",
}


def silent(script: Script) -> None:
    """No answer within the limit: given up, and voided in case it was charged after all."""
    item = script.product()
    order = script.ended(script.place(item, paymentMethod="tok_timeout"))
    script.expect("order", "CANCELLED (payment_failed)", words(order))
    script.expect("charge", "psp_timeout", charges(script.payment(order)))
    script.expect("provider's book", "VOIDED", booked(script, order)["status"])
    script.expect_stock(item, 10, 0)


def silent_to_a_customer(script: Script) -> None:
    """Nobody knows whether the money was taken: no further try, though the customer had two left."""
    item = script.product()
    order = script.unpaid(item)
    script.expect("pay", "202", script.pay(order, "tok_timeout").words)
    script.expect("another card meanwhile", "409 payment_in_progress", script.pay(order, "tok_success").words)
    ended = script.ended(order["id"])
    script.expect("order", "CANCELLED (payment_failed)", words(ended))
    script.expect("charge", "psp_timeout", charges(script.payment(ended)))
    script.expect("provider's book", "VOIDED", booked(script, ended)["status"])
    script.expect_stock(item, 10, 0)


def charged_but_not_said(script: Script) -> None:
    """The answer is lost: the provider is asked what became of it, never charged again."""
    order = script.ended(script.place(script.product(), paymentMethod="tok_timeout_after_charge"))
    script.expect("order", "CONFIRMED", words(order))
    script.expect("charged once", "SUCCEEDED", charges(script.payment(order)))
    script.expect("provider's book", "APPROVED", booked(script, order)["status"])
    script.expect("success said once", 1, count(order, "PAYMENT_SUCCESS"))


def slow(script: Script) -> None:
    order = script.ended(script.place(script.product(), paymentMethod="tok_slow"))
    script.expect("order", "CONFIRMED", words(order))
    script.expect("charged once", "SUCCEEDED", charges(script.payment(order)))


def test_card(script: Script) -> None:
    """A card becomes a token at the provider; the shop sees the token alone."""
    token = script.stage.provider.tokenise({"number": "4242 4242 4242 4242", **_CARD})
    script.expect("card", "visa 4242", f"{token['brand']} {token['last4']}")
    order = script.unpaid(script.product())
    number = script.pay(order, "4242424242424242")
    script.expect("the number itself", "422 invalid_request", number.words)
    script.expect("the token", "202", script.pay(order, token["token"]).words)
    script.expect("order", "CONFIRMED", words(script.ended(order["id"])))


def asynchronous(script: Script) -> None:
    """Accepted now, decided later: a webhook tells."""
    good = script.place(script.product(), paymentMethod="tok_async_success")
    bad = script.place(script.product(), paymentMethod="tok_async_failure")
    order = script.ended(good)
    script.expect("order", "CONFIRMED", words(order))
    script.expect("payment", "SUCCEEDED, 0.00 of 10.00 refunded", money(script.payment(order)))
    order = script.ended(bad)
    script.expect("order", "CANCELLED (payment_failed)", words(order))
    script.expect("charge", "card_declined", charges(script.payment(order)))


def webhooks_thrice(script: Script) -> None:
    """Each webhook three times, the outcome before the announcement."""
    items = [script.product(), script.product()]
    with script.stage.provider_behaves(webhook_copies=3, webhook_shuffle=1):
        script.wait(1.2, "what the payment service knows of its provider's behaviour is up to a second old")
        placed = [
            script.place(item, paymentMethod=token)
            for item, token in zip(items, ("tok_async_success", "tok_async_failure"), strict=True)
        ]
        good, bad = (script.ended(order_id) for order_id in placed)
    script.expect("order", "CONFIRMED", words(good))
    script.expect("charged once", "SUCCEEDED", charges(script.payment(good)))
    script.expect("success said once", 1, count(good, "PAYMENT_SUCCESS"))
    script.expect("order", "CANCELLED (payment_failed)", words(bad))
    script.expect("failure said once", 1, count(bad, "PAYMENT_FAILED"))
    for order in (good, bad):
        script.expect("webhooks delivered", "6 of 6", all_delivered(script, order, 6))
    script.expect("and still", "CONFIRMED", words(script.order(good["id"])))


def late(script: Script) -> None:
    """The good news comes after the limit: given up by then, so it is voided and the news changes nothing."""
    item = script.product()
    order = script.ended(script.place(item, paymentMethod="tok_async_late"))
    script.expect("order", "CANCELLED (payment_failed)", words(order))
    script.expect("charge", "psp_timeout", charges(script.payment(order)))
    all_delivered(script, order, 2)
    script.until(lambda: booked(script, order)["status"] == "VOIDED", "the charge is voided")
    script.expect("provider's book", "VOIDED", booked(script, order)["status"])
    latest = script.order(order["id"])
    script.expect("and still", "CANCELLED (payment_failed)", words(latest))
    script.expect("success said", 0, count(latest, "PAYMENT_SUCCESS"))
    script.expect_stock(item, 10, 0)


def forged_webhooks(script: Script) -> None:
    signatures = {
        "unsigned": "",
        "signed by another": f"t={int(time.time())},v1={'0' * 64}",
        "signed long ago": f"t=1000000000,v1={'0' * 64}",
        "no signature at all": "yes, I am",
    }
    for what, signature in signatures.items():
        headers = {"PSP-Signature": signature} if signature else {}
        answer = script.client.send("POST", "/psp/webhooks", json.dumps(_WEBHOOK).encode(), headers)
        script.expect(what, "400 invalid_signature", answer.words)


def booked(script: Script, order: Mapping[str, Any]) -> dict[str, Any]:
    """The provider's own record of the order's one charge."""
    [charge] = ended_charges(script.payment(order))
    return script.stage.booked(charge["id"])


def all_delivered(script: Script, order: Mapping[str, Any], number: int) -> str:
    """ "6 of 6", once they have come."""
    wanted = f"{number} of {number}"
    script.until(lambda: _delivered(script, order) == wanted, f"{number} webhooks have come")
    return _delivered(script, order)


def _delivered(script: Script, order: Mapping[str, Any]) -> str:
    webhooks = booked(script, order)["webhooks"]
    return f"{sum(webhook['deliveredAt'] is not None for webhook in webhooks)} of {len(webhooks)}"


FLOWS = (
    Flow(name="provider: a slow card", play=slow),
    Flow(name="provider: a test card becomes a token", play=test_card),
    Flow(name="provider: asynchronous success and failure", play=asynchronous),
    Flow(name="provider: webhooks three times and out of order", play=webhooks_thrice),
    Flow(name="provider: forged webhooks", play=forged_webhooks),
)
# Each takes the provider's limit of 30 s, or more.
LONG_FLOWS = (
    Flow(name="provider: no answer at all", play=silent),
    Flow(name="provider: no answer to a customer who pays later", play=silent_to_a_customer),
    Flow(name="provider: charged, but the answer is lost", play=charged_but_not_said),
)
LONGEST_FLOWS = (Flow(name="provider: asynchronous success, too late", play=late),)
