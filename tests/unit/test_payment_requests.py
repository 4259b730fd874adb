"""What a request or an event must look like before anything is looked up, and that no card number gets past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from marshmallow import ValidationError

from payment_service import requests
from payment_service.domain import Rules
from payment_service.schemas import InventoryReserved, OrderReturned
from payment_service.settings import Settings
from payment_service.webhooks import sign
from shared.config import Source
from shared.errors import InvalidRequest, InvalidSignature, PaymentNotFound
from shared.identity import TRUSTED
from shared.payment_tokens import REFUSED_TOKEN

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECRET = "whsec_1"
SETTINGS = Settings(rules=Rules(psp_limit=timedelta(seconds=30)), psp_database_url="", psp_webhook_secret=SECRET)
WORKER, PAYMENT = UUID(int=1), str(UUID(int=2))
TOKEN = "tok_x"
CARD_NUMBERS = ["4242424242424242", "4242 4242 4242 4242", "4242-4242-4242-4242", " 378282246310005", "4.2" * 6 + "4"]
RESERVED = {
    "id": PAYMENT,
    "price": "10.00",
    "currency": "EUR",
    "paymentMode": "manual",
    "paymentMethod": "tok_success",
    "expiresAt": "2026-01-01T12:30:00Z",
    "userId": "ann",
}
LEAST_SETTINGS = {"PSP_DATABASE_URL": "postgresql://psp"}
RETURNED = {"id": PAYMENT, "returnId": str(UUID(int=3)), "refundAmount": "4.00", "currency": "EUR"}


class NothingThere:
    """Takes the place of a transaction in an empty database; whoever writes fails."""

    now = NOW

    def fetch(self, _statement: Any, **_parameters: Any) -> list[Any]:
        return []


def confirm(payment_id: Any = PAYMENT, token: Any = TOKEN, key: Any = None, correlation_id: Any = None) -> Any:
    at: Any = NothingThere()
    return requests.confirm_payment(at, TRUSTED, payment_id, token, key, correlation_id, SETTINGS, WORKER)


def refund(payment_id: Any = PAYMENT, amount: Any = "1.00", reason: Any = "goodwill", key: Any = None) -> Any:
    at: Any = NothingThere()
    return requests.refund_payment(at, TRUSTED, payment_id, amount, reason, key, None, SETTINGS, WORKER)


class TestRequests:
    @pytest.mark.parametrize("payment_id", [PAYMENT, "", "x", None, 5, [], {}, "0" * 5000, True])
    def test_a_payment_that_is_not_there(self, payment_id: Any) -> None:
        for ask in (confirm, refund):
            with pytest.raises(PaymentNotFound):
                ask(payment_id)

    @pytest.mark.parametrize("order_id", [PAYMENT, "", "x", 5, [], {}])
    def test_an_order_without_a_payment(self, order_id: Any) -> None:
        at: Any = NothingThere()
        with pytest.raises(PaymentNotFound):
            requests.get_payment(at, TRUSTED, order_id, None, SETTINGS)

    @pytest.mark.parametrize("ids", [(None, None), (PAYMENT, PAYMENT)])
    def test_one_id_is_to_be_given(self, ids: tuple[Any, Any]) -> None:
        at: Any = NothingThere()
        with pytest.raises(InvalidRequest):
            requests.get_payment(at, TRUSTED, *ids, SETTINGS)

    @pytest.mark.parametrize("token", ["", None, 5, [], {}, "x" * 201])
    def test_a_payment_method_is_a_short_text(self, token: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            confirm(token=token)
        assert list(refused.value.details["errors"]) == ["paymentMethod"]

    @pytest.mark.parametrize("number", CARD_NUMBERS)
    def test_a_card_number_is_refused_and_not_repeated(self, number: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            confirm(token=number)
        assert "token" in str(refused.value.details)
        assert number.strip() not in f"{refused.value} {refused.value.details}"

    @pytest.mark.parametrize("token", ["tok_success", "t", "tok_01977ae2111122223333444455556666"])
    def test_a_token_passes(self, token: str) -> None:
        with pytest.raises(PaymentNotFound):
            confirm(token=token)

    @pytest.mark.parametrize(
        "amount",
        ["0", "0.00", "-1.00", "1.001", "1e3", "99999999999.00", "NaN", "Infinity", " 1", "", 5, 1.5, True, []],
    )
    def test_absurd_amounts_are_refused(self, amount: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            refund(amount=amount)
        assert list(refused.value.details["errors"]) == ["amount"]

    @pytest.mark.parametrize("reason", ["", 5, [], "x" * 201])
    def test_a_reason_is_a_short_text(self, reason: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            refund(reason=reason)
        assert list(refused.value.details["errors"]) == ["reason"]

    @pytest.mark.parametrize("key", ["", 5, [], "x" * 256])
    def test_a_key_is_a_short_text(self, key: Any) -> None:
        for ask in (confirm, refund):
            with pytest.raises(InvalidRequest):
                ask(key=key)

    @pytest.mark.parametrize("correlation_id", ["", 5, "x" * 256])
    def test_so_is_a_correlation_id(self, correlation_id: Any) -> None:
        with pytest.raises(InvalidRequest):
            confirm(correlation_id=correlation_id)


class TestWebhooks:
    def webhook(self, body: Any, signature: Any, settings: Settings = SETTINGS) -> Any:
        at: Any = NothingThere()
        return requests.psp_webhook(at, body, signature, settings, WORKER)

    def test_without_a_secret_every_one_is_refused(self) -> None:
        settings = Settings(rules=SETTINGS.rules, psp_database_url="")
        with pytest.raises(InvalidSignature):
            self.webhook("{}", sign("{}", secret="", at=NOW), settings)

    @pytest.mark.parametrize(("body", "signature"), [(None, "t"), (b"{}", "t"), ({}, "t"), ("{}", None), ("{}", 5)])
    def test_only_a_text_can_be_signed(self, body: Any, signature: Any) -> None:
        with pytest.raises(InvalidSignature):
            self.webhook(body, signature)

    @pytest.mark.parametrize("key", ["no-uuid", "", str(UUID(int=9))])
    def test_a_charge_of_somebody_else_changes_nothing(self, key: str) -> None:
        body = (
            '{"id":"evt_1","type":"charge.succeeded","createdAt":"2026-01-01T12:00:00Z",'
            f'"data":{{"key":"{key}","reference":"psp_1","status":"succeeded","reason":null}}}}'
        )
        assert self.webhook(body, sign(body, secret=SECRET, at=NOW)) == ({"applied": False}, [])


class TestEvents:
    def test_what_is_read_of_a_reservation(self) -> None:
        event = InventoryReserved().load({**RESERVED, "sellerId": "shop"})
        assert (event.payment_mode, event.user_id, event.payment_method) == ("manual", "ann", "tok_success")
        assert event.seller_id == "shop"

    def test_what_a_publisher_may_leave_out(self) -> None:
        event = InventoryReserved().load({k: v for k, v in RESERVED.items() if k not in {"paymentMethod", "userId"}})
        assert (event.user_id, event.seller_id, event.payment_method) == (None, None, None)

    @pytest.mark.parametrize("number", CARD_NUMBERS)
    def test_a_card_number_in_an_event_does_not_come_in(self, number: str) -> None:
        assert InventoryReserved().load({**RESERVED, "paymentMethod": number}).payment_method == REFUSED_TOKEN

    @pytest.mark.parametrize("mode", ["later", "", None, [], {}, 5])
    def test_modes_nobody_knows_are_refused(self, mode: Any) -> None:
        with pytest.raises(ValidationError):
            InventoryReserved().load({**RESERVED, "paymentMode": mode})

    @pytest.mark.parametrize("amount", ["-0.01", "1.001", "", None, 4, "1e2"])
    def test_a_return_is_worth_nothing_or_more(self, amount: Any) -> None:
        assert OrderReturned().load({**RETURNED, "refundAmount": "0.00"}).amount == 0
        with pytest.raises(ValidationError):
            OrderReturned().load({**RETURNED, "refundAmount": amount})


class TestSettings:
    def test_defaults(self) -> None:
        settings = Settings.read(Source(values=LEAST_SETTINGS))
        assert (settings.psp_call_timeout, settings.psp_webhook_secret) == (10, None)

    def test_the_secret_is_read_and_never_shown(self) -> None:
        settings = Settings.read(
            Source(values={**LEAST_SETTINGS, "PSP_WEBHOOK_SECRET": SECRET, "PSP_CALL_TIMEOUT_S": "2"})
        )
        assert (settings.psp_webhook_secret, settings.psp_call_timeout) == (SECRET, 2)
        assert SECRET not in repr(settings)
