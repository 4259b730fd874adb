"""Payments on request: paid later in several attempts, refunded in parts, ended by the provider's webhooks.

Never charged twice, never more refunded than was taken, and what is refused changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.payloads import in_seconds, inventory_refunded, inventory_reserved, new_order_id, order_cancelled
from harness.processes import Processes, ServiceProcess
from harness.waiting import wait_until

from gateway.rpc import RpcClient
from payment_service.domain import payment_id
from payment_service.webhooks import sign
from shared.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    InvalidSignature,
    OrderSagaError,
    PaymentExpired,
    PaymentInProgress,
    PaymentNotFound,
    PaymentNotPayable,
    PaymentNotRefundable,
    RefundTooLarge,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("service", "clean")]

SECRET, GOOD_TOKEN = "whsec_test", "tok_success"
BOOK = """
select c.status, c.amount - coalesce((select sum(amount) from refunds r where r.charge_key = c.key), 0)
from charges c order by c.created_at, c.key
"""
EVERYTHING = """
select (select json_agg(p order by order_id) from payments p)::text,
       (select json_agg(array[id::text, kind, purpose, ended_at::text] order by id) from payment_attempts)::text,
       (select json_agg(r order by id) from refunds r)::text,
       (select json_agg(o order by id) from outbox o)::text,
       (select json_agg(k order by key) from idempotency_keys k)::text
"""


@pytest.fixture(scope="module")
def service(processes: Processes) -> Iterator[ServiceProcess]:
    process = processes.start_ready("payment_service", PSP_WEBHOOK_SECRET=SECRET)
    yield process
    assert process.terminate() == 0


class Customer:
    """Whoever asks something of the payment service, and waits for what it says and does."""

    def __init__(self, rpc: RpcClient, broker: Broker, databases: Databases) -> None:
        self._rpc, self._broker, self._databases = rpc, broker, databases

    def order(self, **reservation: Any) -> str:
        """An order to be paid later; its id."""
        order_id = new_order_id()
        event = inventory_reserved(order_id, **{"paymentMode": "manual", **reservation})
        self._broker.publish_event("INVENTORY_RESERVED", event)
        self.wait_for(order_id, "PAYMENT_PENDING")
        return order_id

    def paid_order(self) -> str:
        order_id = new_order_id()
        self._broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id))
        self.wait_for(order_id, "PAYMENT_SUCCESS")
        return order_id

    def call(self, method: str, **arguments: Any) -> Any:
        return self._rpc.call("payment_service", method, **arguments)

    def confirm(self, order_id: str, token: str = GOOD_TOKEN, **arguments: Any) -> Any:
        id_ = str(payment_id(UUID(order_id)))
        return self.call("confirm_payment", payment_id=id_, payment_method=token, **arguments)

    def refund(self, order_id: str, amount: str | None = None, **arguments: Any) -> Any:
        return self.call("refund_payment", payment_id=str(payment_id(UUID(order_id))), amount=amount, **arguments)

    def give_goods_back(self, order_id: str, amount: str, return_id: str | None = None, currency: str = "EUR") -> str:
        """ORDER_RETURNED, with an event id of its own each time; the return's id."""
        payload = {
            "id": order_id,
            "returnId": return_id or str(uuid4()),
            "items": [{"item": "thing", "quantity": 1}],
            "restock": True,
            "refundAmount": amount,
            "currency": currency,
        }
        self._broker.publish_event("ORDER_RETURNED", payload)
        return payload["returnId"]  # type: ignore[return-value]

    def cancel(self, order_id: str) -> None:
        self._broker.publish_event("ORDER_CANCELLED", order_cancelled(order_id))

    def webhook(
        self, key: str, status: str, *, reason: str | None = None, secret: str = SECRET, age_s: float = 0
    ) -> Any:
        """As the provider would send it."""
        body = json.dumps(
            {
                "id": f"evt_{uuid4().hex}",
                "type": f"charge.{status}",
                "data": {"key": key, "reference": "psp_hook", "status": status, "reason": reason},
                "createdAt": in_seconds(0),
            }
        )
        signature = sign(body, secret=secret, at=datetime.now(UTC) - timedelta(seconds=age_s))
        return self.call("psp_webhook", body=body, signature=signature)

    def payment(self, order_id: str) -> Any:
        return self.call("get_payment", order_id=order_id)

    def said(self, order_id: str) -> list[str]:
        statement = "select event_type from outbox where aggregate_id = %s order by id"
        return [row[0] for row in self._databases.query("payment_service", statement, order_id)]

    def told(self, order_id: str, event_type: str) -> list[Any]:
        """Payloads of one kind of event."""
        statement = "select payload from outbox where aggregate_id = %s and event_type = %s order by id"
        return [row[0] for row in self._databases.query("payment_service", statement, order_id, event_type)]

    def wait_for(self, order_id: str, *events: str) -> None:
        wait_until(lambda: self.said(order_id) == list(events), f"it says {events}: {self.said(order_id)}")

    def wait_for_status(self, order_id: str, status: str) -> None:
        wait_until(lambda: self.payment(order_id)["status"] == status, f"the payment is {status}")

    def wait_until_quiet(self) -> None:
        is_open = "select count(*) from payment_attempts where ended_at is null and status <> 'AWAITING'"
        wait_until(lambda: self._databases.value("payment_service", is_open) == 0, "nothing is under way")

    def key_of_charge(self, order_id: str, status: str) -> str:
        """The provider's key of the one charge in this status, once there is one."""
        statement = "select id from payment_attempts where order_id = %s and kind = 'CHARGE' and status = %s"
        rows = wait_until(
            lambda: self._databases.query("payment_service", statement, order_id, status), f"a charge is {status}"
        )
        return str(rows[0][0])

    def book(self) -> list[tuple[str, Decimal]]:
        """(status, net amount) of every charge that the provider has."""
        return [(status, net) for status, net in self._databases.query("psp", BOOK)]

    def ledger(self) -> Decimal:
        """What the provider holds for us; AssertionError if the ledger does not balance."""
        off = "select count(*) from (select 1 from ledger_entries group by transaction_id having sum(amount) <> 0) t"
        assert self._databases.value("payment_service", off) == 0
        held = "select coalesce(sum(amount), 0) from ledger_entries where account = 'psp_receivable'"
        return Decimal(self._databases.value("payment_service", held))

    def everything(self) -> list[tuple[Any, ...]]:
        return self._databases.query("payment_service", EVERYTHING)


@pytest.fixture
def customer(rpc: RpcClient, broker: Broker, databases: Databases) -> Customer:
    return Customer(rpc, broker, databases)


def _at_once(*calls: Callable[[], Any]) -> tuple[list[Any], list[OrderSagaError]]:
    """(answers, refusals) of calls made at the same time."""

    def attempt(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except OrderSagaError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        outcomes = list(pool.map(attempt, calls))
    refusals = [outcome for outcome in outcomes if isinstance(outcome, OrderSagaError)]
    return [outcome for outcome in outcomes if not isinstance(outcome, OrderSagaError)], refusals


class TestPayingLater:
    def test_two_declines_and_a_success(self, customer: Customer) -> None:
        """Given a customer whose cards are refused twice, then the third attempt pays, and only that one."""
        order_id = customer.order()
        for left, token in ((2, "tok_card_declined"), (1, "tok_insufficient_funds")):
            answer = customer.confirm(order_id, token)["payment"]
            assert (answer["status"], answer["charging"], answer["attemptsLeft"]) == ("PENDING", True, left)
            customer.wait_until_quiet()
            assert customer.said(order_id) == ["PAYMENT_PENDING"]
        customer.confirm(order_id)

        customer.wait_for(order_id, "PAYMENT_PENDING", "PAYMENT_SUCCESS")
        assert customer.book() == [("DECLINED", 10), ("DECLINED", 10), ("APPROVED", 10)]
        assert customer.ledger() == 10
        payment = customer.payment(order_id)
        assert [attempt["status"] for attempt in payment["attempts"]] == ["FAILED", "FAILED", "SUCCEEDED"]
        assert (payment["mode"], payment["userId"], payment["attemptsLeft"]) == ("manual", "ann", 0)

    def test_the_third_decline_is_the_end(self, customer: Customer) -> None:
        order_id = customer.order()
        for token in ("tok_card_declined", "tok_card_declined", "tok_limit_exceeded"):
            customer.confirm(order_id, token)
            customer.wait_until_quiet()

        customer.wait_for(order_id, "PAYMENT_PENDING", "PAYMENT_FAILED")
        assert customer.told(order_id, "PAYMENT_FAILED")[0]["reason"] == "limit_exceeded"
        before = customer.everything()
        with pytest.raises(PaymentNotPayable) as refused:
            customer.confirm(order_id)
        assert refused.value.details == {"status": "FAILED"}
        assert customer.everything() == before

    def test_a_key_is_one_attempt(self, customer: Customer) -> None:
        order_id, other = customer.order(), customer.order()
        first = customer.confirm(order_id, idempotency_key="k")
        again = customer.confirm(order_id, idempotency_key="k")
        customer.wait_for(order_id, "PAYMENT_PENDING", "PAYMENT_SUCCESS")
        late = customer.confirm(order_id, idempotency_key="k")

        assert (first["replayed"], again["replayed"], late["replayed"]) == (False, True, True)
        assert first["payment"] == again["payment"] == late["payment"]
        with pytest.raises(IdempotencyKeyReused):
            customer.confirm(order_id, "tok_card_declined", idempotency_key="k")
        with pytest.raises(IdempotencyKeyReused):
            customer.confirm(other, idempotency_key="k")
        assert customer.book() == [("APPROVED", 10)]

    def test_customers_of_many_hands_pay_once(self, customer: Customer) -> None:
        """Given many confirmations at once without a key, then one begins and the others are told why not."""
        order_id = customer.order()
        answers, refusals = _at_once(*[lambda: customer.confirm(order_id)] * 8)

        assert len(answers) == 1
        assert {type(error) for error in refusals} <= {PaymentInProgress, PaymentNotPayable}
        customer.wait_for(order_id, "PAYMENT_PENDING", "PAYMENT_SUCCESS")
        assert customer.book() == [("APPROVED", 10)]

    def test_too_late_to_pay(self, customer: Customer) -> None:
        """Given less time than an attempt may take, then it is refused; and when the stock is back, for good."""
        expires_at = in_seconds(30)
        order_id = customer.order(expiresAt=expires_at)
        before = customer.everything()
        with pytest.raises(PaymentExpired) as refused:
            customer.confirm(order_id)
        assert refused.value.details == {"expiresAt": expires_at}
        assert customer.everything() == before

        customer._broker.publish_event("INVENTORY_REFUNDED", inventory_refunded(order_id))
        customer.wait_for(order_id, "PAYMENT_PENDING", "PAYMENT_CANCELLED")
        with pytest.raises(PaymentNotPayable):
            customer.confirm(order_id)
        assert customer.book() == []

    def test_only_a_payment_that_waits_can_be_paid(self, customer: Customer) -> None:
        order_id = customer.paid_order()
        before = customer.everything()
        with pytest.raises(PaymentNotPayable) as refused:
            customer.confirm(order_id)
        assert refused.value.details == {"status": "SUCCEEDED"}
        assert customer.everything() == before

    def test_bad_requests_change_nothing(self, customer: Customer) -> None:
        order_id = customer.order()
        before = customer.everything()
        for token in ("4242 4242 4242 4242", "", None, 5, "x" * 201):
            with pytest.raises(InvalidRequest):
                customer.confirm(order_id, token)  # type: ignore[arg-type]
        for id_ in (order_id, str(uuid4()), "", "x", None, 7):
            with pytest.raises(PaymentNotFound):
                customer.call("confirm_payment", payment_id=id_, payment_method="tok_success")
        assert customer.everything() == before

    def test_the_request_is_found_again_by_its_correlation_id(self, customer: Customer, databases: Databases) -> None:
        order_id = customer.order()
        customer.confirm(order_id, correlation_id="req-7")
        customer.wait_for(order_id, "PAYMENT_PENDING", "PAYMENT_SUCCESS")
        statement = "select correlation_id, causation_id from outbox where event_type = 'PAYMENT_SUCCESS'"
        assert databases.query("payment_service", statement) == [("req-7", None)]


class TestCancelling:
    def test_before_the_customer_pays(self, customer: Customer) -> None:
        order_id = customer.order()
        customer.cancel(order_id)
        customer.wait_for(order_id, "PAYMENT_PENDING", "PAYMENT_CANCELLED")
        with pytest.raises(PaymentNotPayable):
            customer.confirm(order_id)
        assert customer.book() == []

    def test_between_two_attempts(self, customer: Customer) -> None:
        order_id = customer.order()
        customer.confirm(order_id, "tok_card_declined")
        customer.wait_until_quiet()
        customer.cancel(order_id)
        customer.wait_for(order_id, "PAYMENT_PENDING", "PAYMENT_CANCELLED")
        assert customer.book() == [("DECLINED", 10)]

    @pytest.mark.parametrize(
        ("status", "left_in_the_book"), [("succeeded", ["VOIDED"]), ("failed", ["PROCESSING", "DECLINED", "VOIDED"])]
    )
    def test_while_the_provider_takes_its_time(
        self, customer: Customer, status: str, left_in_the_book: list[str]
    ) -> None:
        """Given a charge that the provider is still at, then nothing is said until its outcome, which is undone."""
        order_id = customer.order()
        customer.confirm(order_id, "tok_async_late")
        key = customer.key_of_charge(order_id, "AWAITING")
        customer.cancel(order_id)
        customer.wait_for_status(order_id, "CANCELLED")
        assert customer.said(order_id) == ["PAYMENT_PENDING"]

        assert customer.webhook(key, status, reason="card_declined") == {"applied": True}
        customer.wait_for(order_id, "PAYMENT_PENDING", "PAYMENT_CANCELLED")
        assert customer.book()[0][0] in left_in_the_book
        assert customer.ledger() == 0

    def test_after_paying_and_a_refund_in_part(self, customer: Customer) -> None:
        order_id = customer.paid_order()
        customer.refund(order_id, "4.00")
        customer.wait_for(order_id, "PAYMENT_SUCCESS", "PAYMENT_REFUNDED")
        for _ in range(3):
            customer.cancel(order_id)

        customer.wait_for(order_id, "PAYMENT_SUCCESS", "PAYMENT_REFUNDED", "PAYMENT_REFUNDED")
        last = customer.told(order_id, "PAYMENT_REFUNDED")[1]
        assert (last["amount"], last["totalRefunded"], last["reason"]) == ("6.00", "10.00", "order_cancelled")
        assert (customer.book(), customer.ledger()) == ([("APPROVED", 0)], 0)


class TestRefunds:
    def test_in_parts_up_to_what_was_taken(self, customer: Customer) -> None:
        order_id = customer.paid_order()
        answer = customer.refund(order_id, "4.00", reason="scratched")
        assert (answer["replayed"], answer["refund"]["amount"], answer["refund"]["status"]) == (
            False,
            "4.00",
            "PENDING",
        )
        customer.wait_for_status(order_id, "PARTIALLY_REFUNDED")
        with pytest.raises(RefundTooLarge) as refused:
            customer.refund(order_id, "6.01")
        assert refused.value.details == {"refundable": "6.00", "currency": "EUR"}
        customer.refund(order_id)

        customer.wait_for_status(order_id, "REFUNDED")
        told = [(e["amount"], e["totalRefunded"], e["reason"]) for e in customer.told(order_id, "PAYMENT_REFUNDED")]
        assert told == [("4.00", "4.00", "scratched"), ("6.00", "10.00", "requested")]
        refunds = customer.payment(order_id)["refunds"]
        assert [refund["status"] for refund in refunds] == ["SUCCEEDED", "SUCCEEDED"]
        assert refunds[0]["id"] == answer["refund"]["id"]
        assert (customer.book(), customer.ledger()) == ([("APPROVED", 0)], 0)
        with pytest.raises(PaymentNotRefundable) as refused_again:
            customer.refund(order_id, "0.01")
        assert refused_again.value.details == {"status": "REFUNDED"}

    def test_many_at_once_never_give_back_more(self, customer: Customer) -> None:
        """Given ten requests for 3.00 of 10.00 at the same time, then three are carried out and seven refused."""
        order_id = customer.paid_order()
        answers, refusals = _at_once(*[lambda: customer.refund(order_id, "3.00")] * 10)

        assert len(answers) == 3
        assert {type(error) for error in refusals} == {RefundTooLarge}
        customer.wait_until_quiet()
        assert customer.payment(order_id)["refunded"] == "9.00"
        assert (customer.book(), customer.ledger()) == ([("APPROVED", 1)], 1)

    @pytest.mark.parametrize("order", list(permutations(["request", "return", "cancel"])))
    def test_a_request_a_return_and_a_cancellation_at_once(self, customer: Customer, order: tuple[str, ...]) -> None:
        order_id = customer.paid_order()
        actions: dict[str, Callable[[], Any]] = {
            "request": lambda: _at_once(lambda: customer.refund(order_id, "7.00")),
            "return": lambda: customer.give_goods_back(order_id, "7.00"),
            "cancel": lambda: customer.cancel(order_id),
        }
        for action in order:
            actions[action]()

        customer.wait_for_status(order_id, "REFUNDED")
        customer.wait_until_quiet()
        assert customer.payment(order_id)["refunded"] == "10.00"
        assert (customer.book(), customer.ledger()) == ([("APPROVED", 0)], 0)

    def test_a_key_is_one_refund(self, customer: Customer) -> None:
        order_id, other = customer.paid_order(), customer.paid_order()
        first = customer.refund(order_id, "4.00", idempotency_key="k")
        again = customer.refund(order_id, "4.00", idempotency_key="k")
        assert (again["replayed"], again["refund"]) == (True, first["refund"])
        for changed in ({"amount": "5.00"}, {"amount": None}, {"amount": "4.00", "reason": "other"}):
            with pytest.raises(IdempotencyKeyReused):
                customer.refund(order_id, idempotency_key="k", **changed)
        with pytest.raises(IdempotencyKeyReused):
            customer.refund(other, "4.00", idempotency_key="k")
        customer.wait_for(order_id, "PAYMENT_SUCCESS", "PAYMENT_REFUNDED")
        assert customer.said(other) == ["PAYMENT_SUCCESS"]

    def test_bad_requests_change_nothing(self, customer: Customer) -> None:
        order_id, unpaid = customer.paid_order(), customer.order()
        before = customer.everything()
        for amount in ("0", "0.00", "-1.00", "1.001", "99999999999.00", "1e3", "", 4, []):
            with pytest.raises(InvalidRequest):
                customer.refund(order_id, amount)  # type: ignore[arg-type]
        for amount in ("10.01", "9999999999.99"):
            with pytest.raises(RefundTooLarge):
                customer.refund(order_id, amount)
        with pytest.raises(PaymentNotRefundable):
            customer.refund(unpaid, "1.00")
        for id_ in (order_id, str(uuid4()), "", None, 7):
            with pytest.raises(PaymentNotFound):
                customer.call("refund_payment", payment_id=id_, amount="1.00")
        assert customer.everything() == before

    def test_what_the_provider_refuses_is_told_and_may_be_asked_for_again(
        self, customer: Customer, databases: Databases
    ) -> None:
        order_id = customer.paid_order()
        databases.query("psp", "update charges set status = 'DECLINED'")
        customer.refund(order_id, "4.00")
        customer.wait_for(order_id, "PAYMENT_SUCCESS", "PAYMENT_REFUND_FAILED")
        payment = customer.payment(order_id)
        assert (payment["status"], payment["refunding"], payment["refunds"][0]["status"]) == (
            "SUCCEEDED",
            "0.00",
            "FAILED",
        )
        databases.query("psp", "update charges set status = 'APPROVED'")
        customer.refund(order_id)
        customer.wait_for_status(order_id, "REFUNDED")
        assert customer.ledger() == 0


class TestReturns:
    def test_under_the_returns_own_id_and_once(self, customer: Customer) -> None:
        """Given the same return in several events, then it is refunded once."""
        order_id = customer.paid_order()
        return_id = customer.give_goods_back(order_id, "4.00")
        for _ in range(3):
            customer.give_goods_back(order_id, "4.00", return_id)

        customer.wait_for(order_id, "PAYMENT_SUCCESS", "PAYMENT_REFUNDED")
        [told] = customer.told(order_id, "PAYMENT_REFUNDED")
        assert (told["refundId"], told["amount"], told["reason"]) == (return_id, "4.00", "returned")
        customer.wait_until_quiet()
        assert (customer.book(), customer.ledger()) == ([("APPROVED", 6)], 6)

    def test_as_much_as_is_left_and_then_nothing(self, customer: Customer, broker: Broker) -> None:
        order_id = customer.paid_order()
        customer.give_goods_back(order_id, "0.00")
        customer.give_goods_back(order_id, "9999999999.99")
        customer.wait_for(order_id, "PAYMENT_SUCCESS", "PAYMENT_REFUNDED")
        late = customer.give_goods_back(order_id, "1.00")
        customer.give_goods_back(order_id, "1.00", late)

        customer.wait_for(order_id, "PAYMENT_SUCCESS", "PAYMENT_REFUNDED", "PAYMENT_REFUND_FAILED")
        [refused] = customer.told(order_id, "PAYMENT_REFUND_FAILED")
        assert (refused["refundId"], refused["reason"]) == (late, "nothing_left")
        assert (customer.book(), customer.ledger()) == ([("APPROVED", 0)], 0)
        assert broker.depth("payment_service.ORDER_RETURNED.dead") == 0

    def test_where_no_money_is(self, customer: Customer) -> None:
        unpaid, unknown = customer.order(), new_order_id()
        customer.give_goods_back(unpaid, "1.00")
        customer.give_goods_back(unknown, "1.00")
        customer.wait_for(unpaid, "PAYMENT_PENDING", "PAYMENT_REFUND_FAILED")
        customer.wait_for(unknown, "PAYMENT_REFUND_FAILED")
        customer.confirm(unpaid)
        customer.wait_for(unpaid, "PAYMENT_PENDING", "PAYMENT_REFUND_FAILED", "PAYMENT_SUCCESS")

    def test_an_id_that_is_taken_elsewhere_refunds_nothing(self, customer: Customer, broker: Broker) -> None:
        first, second = customer.paid_order(), customer.paid_order()
        taken = customer.refund(first, "1.00")["refund"]["id"]
        customer.give_goods_back(second, "1.00", taken)
        customer.give_goods_back(second, "2.00")
        customer.wait_for(second, "PAYMENT_SUCCESS", "PAYMENT_REFUNDED")
        assert customer.payment(second)["refunded"] == "2.00"
        assert broker.depth("payment_service.ORDER_RETURNED.dead") == 0

    def test_of_another_currency(self, customer: Customer) -> None:
        order_id = customer.paid_order()
        customer.give_goods_back(order_id, "1.00", currency="USD")
        customer.wait_for(order_id, "PAYMENT_SUCCESS", "PAYMENT_REFUND_FAILED")
        assert customer.told(order_id, "PAYMENT_REFUND_FAILED")[0]["reason"] == "wrong_currency"

    def test_absurd_ones_are_dead_letters(self, customer: Customer, broker: Broker) -> None:
        order_id = customer.paid_order()
        for amount in ("-1.00", "1.001", ""):
            customer.give_goods_back(order_id, amount)
        queue = "payment_service.ORDER_RETURNED"
        wait_until(lambda: broker.depth(f"{queue}.dead") == 3, "all are dead letters")
        assert {letter.headers["x-error-code"] for letter in broker.dead(queue)} == {"invalid_payload"}
        assert customer.said(order_id) == ["PAYMENT_SUCCESS"]


class TestWebhooks:
    def awaited(self, customer: Customer) -> tuple[str, str]:
        """(order id, the provider's key) of a payment whose charge the provider is still at."""
        order_id = customer.order()
        customer.confirm(order_id, "tok_async_late")
        return order_id, customer.key_of_charge(order_id, "AWAITING")

    def test_a_success_in_time(self, customer: Customer) -> None:
        order_id, key = self.awaited(customer)
        assert customer.payment(order_id)["charging"] is True
        assert customer.webhook(key, "processing") == {"applied": False}
        assert customer.webhook(key, "succeeded") == {"applied": True}

        assert customer.said(order_id) == ["PAYMENT_PENDING", "PAYMENT_SUCCESS"]
        assert customer.payment(order_id)["pspReference"] == "psp_hook"
        assert customer.ledger() == 10

    def test_twice_late_and_out_of_order(self, customer: Customer) -> None:
        """Given a success that came, then the same again and whatever else comes behind it change nothing."""
        _, key = self.awaited(customer)
        customer.webhook(key, "succeeded")
        before = customer.everything()
        for status in ("succeeded", "processing", "failed", "succeeded"):
            assert customer.webhook(key, status, reason="card_declined") == {"applied": False}
        assert customer.everything() == before

    def test_many_at_once_end_it_once(self, customer: Customer) -> None:
        order_id, key = self.awaited(customer)
        answers, refusals = _at_once(*[lambda: customer.webhook(key, "succeeded")] * 8)
        assert refusals == []
        assert sorted(answer["applied"] for answer in answers) == [False] * 7 + [True]
        assert customer.said(order_id) == ["PAYMENT_PENDING", "PAYMENT_SUCCESS"]
        assert customer.ledger() == 10

    def test_a_failure_lets_the_customer_try_again(self, customer: Customer) -> None:
        order_id, key = self.awaited(customer)
        with pytest.raises(PaymentInProgress):
            customer.confirm(order_id)
        assert customer.webhook(key, "failed", reason="card_declined") == {"applied": True}
        customer.confirm(order_id)
        customer.wait_for(order_id, "PAYMENT_PENDING", "PAYMENT_SUCCESS")

    def test_a_success_of_an_attempt_that_had_failed_is_undone(self, customer: Customer, databases: Databases) -> None:
        """Given a second attempt that paid, then the first one's belated success is voided, once, and nothing else."""
        order_id, key = self.awaited(customer)
        customer.webhook(key, "failed", reason="card_declined")
        customer.confirm(order_id)
        customer.wait_for(order_id, "PAYMENT_PENDING", "PAYMENT_SUCCESS")

        assert customer.webhook(key, "succeeded") == {"applied": True}
        assert customer.webhook(key, "succeeded") == {"applied": False}
        customer.wait_until_quiet()
        voids = "select charge_id::text, status from payment_attempts where kind = 'VOID'"
        assert databases.query("payment_service", voids) == [(key, "SUCCEEDED")]
        assert customer.said(order_id) == ["PAYMENT_PENDING", "PAYMENT_SUCCESS"]
        assert [status for status, _ in customer.book()] == ["VOIDED", "APPROVED"]
        assert customer.ledger() == 10

    def test_who_did_not_sign_changes_nothing(self, customer: Customer) -> None:
        _, key = self.awaited(customer)
        before = customer.everything()
        for forged in ({"secret": "guessed"}, {"age_s": 3600}, {"age_s": -3600}):
            with pytest.raises(InvalidSignature):
                customer.webhook(key, "succeeded", **forged)  # type: ignore[arg-type]
        for signature in ("", "t=1,v1=", "v1=00", None, 5):
            with pytest.raises(InvalidSignature):
                customer.call("psp_webhook", body="{}", signature=signature)
        assert customer.everything() == before

    def test_signed_nonsense_is_named(self, customer: Customer) -> None:
        for body in ("", "[]", "{}", "null", '{"id": 5}'):
            with pytest.raises(InvalidRequest):
                customer.call("psp_webhook", body=body, signature=sign(body, secret=SECRET, at=datetime.now(UTC)))
        assert customer.webhook(str(uuid4()), "succeeded") == {"applied": False}
        assert customer.webhook("somebody else's", "succeeded") == {"applied": False}


def test_what_the_service_says_of_its_provider(customer: Customer) -> None:
    assert customer.call("health")["pspCircuit"] == "closed"
    idle = {"circuit": "closed", "openCalls": 0}
    wait_until(lambda: customer.call("provider_state") == idle, "no call is open")


def test_a_payment_is_found_by_either_id(customer: Customer) -> None:
    order_id = customer.order()
    found = customer.call("get_payment", payment_id=str(payment_id(UUID(order_id))))
    assert found == customer.payment(order_id)
    assert (found["orderId"], found["status"], found["attemptsLeft"]) == (order_id, "PENDING", 3)


def test_no_card_number_is_kept_or_logged(
    customer: Customer, broker: Broker, databases: Databases, service: ServiceProcess
) -> None:
    """Given card numbers where tokens belong, then they are refused or declined, and are nowhere to be found."""
    number, order_id = "4242424242424242", new_order_id()
    broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id, paymentMethod=number))
    customer.wait_for(order_id, "PAYMENT_FAILED")
    with pytest.raises(InvalidRequest):
        customer.confirm(customer.order(), number, idempotency_key="k")

    assert number not in str(customer.everything())
    assert number not in str(databases.query("psp", "select charges::text from charges"))
    assert number not in service.output()
