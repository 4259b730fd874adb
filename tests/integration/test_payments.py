"""Money: charged once, given back in full, never taken for a cancelled order, whatever dies in between.

What is asked for by request is in test_payment_commands.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
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

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("clean")]

# Whoever takes over has all the time that a busy machine needs.
NO_LIMIT = {"PSP_LIMIT_S": "300"}
INSERT_PAYMENT = """
insert into payments (order_id, id, status, amount, currency, charging, cancelled, refunded, created_at, updated_at)
values (%s, %s, 'PENDING', 10, 'EUR', true, false, 0, now(), now())
"""
INSERT_ATTEMPT = """
insert into payment_attempts (id, order_id, kind, amount, currency, status, leased_by, tries, cause_event_id,
                              correlation_id, started_at)
values (%s, %s, 'CHARGE', 10, 'EUR', 'CALLING', gen_random_uuid(), 0, gen_random_uuid(), 'c', now())
"""
INSERT_AWAITED = """
insert into payment_attempts (id, order_id, kind, amount, currency, status, leased_by, tries, next_try_at,
                              correlation_id, started_at)
values (%s, %s, 'CHARGE', 10, 'EUR', 'AWAITING', gen_random_uuid(), 2, now() + interval '1 second', 'c', now())
"""
INSERT_DECLINED = """
insert into payment_attempts (id, order_id, kind, amount, currency, status, leased_by, tries, correlation_id,
                              started_at, ended_at)
values (%s, %s, 'CHARGE', 10, 'EUR', 'FAILED', gen_random_uuid(), 0, 'c', now(), now())
"""
SECRET, GOOD_TOKEN = "whsec_test", "tok_success"
INSERT_CHARGE = "insert into charges (key, reference, amount, currency, status) values (%s, 'psp_1', 10, 'EUR', %s)"
BOOK = """
select c.status, c.amount - coalesce((select sum(amount) from refunds r where r.charge_key = c.key), 0)
from charges c order by c.created_at
"""


@pytest.fixture
def payment(processes: Processes) -> Iterator[ServiceProcess]:
    """Started anew for tests that prepare what a dead one left behind."""
    process = processes.start_ready("payment_service")
    yield process
    assert process.was_killed or process.terminate() == 0


def _events(databases: Databases, order_id: str) -> list[str]:
    statement = "select event_type from outbox where aggregate_id = %s order by id"
    return [row[0] for row in databases.query("payment_service", statement, order_id)]


def _wait_for(databases: Databases, order_id: str, *events: str) -> None:
    wait_until(lambda: _events(databases, order_id) == list(events), f"the answer is {events}")


def _book(databases: Databases) -> list[tuple[str, int]]:
    """(status, net amount) of every charge the provider has."""
    return [(status, int(net)) for status, net in databases.query("psp", BOOK)]


def _status(databases: Databases, order_id: str) -> str:
    return str(databases.value("payment_service", "select status from payments where order_id = %s", order_id))


def _confirm(rpc: RpcClient, order_id: str, token: str = GOOD_TOKEN, **arguments: str) -> dict[str, object]:
    answer: dict[str, object] = rpc.call(
        "payment_service",
        "confirm_payment",
        payment_id=str(payment_id(UUID(order_id))),
        payment_method=token,
        **arguments,
    )
    return answer


def _webhook(rpc: RpcClient, key: str) -> dict[str, bool]:
    """The provider says that the charge succeeded."""
    data = {"key": key, "reference": "psp_late", "status": "succeeded", "reason": None}
    body = json.dumps({"id": "evt_1", "type": "charge.succeeded", "data": data, "createdAt": in_seconds(0)})
    signature = sign(body, secret=SECRET, at=datetime.now(UTC))
    answer: dict[str, bool] = rpc.call("payment_service", "psp_webhook", body=body, signature=signature)
    return answer


def _left_by_a_dead_worker(databases: Databases) -> tuple[str, str]:
    """A charge under way whose worker has no lease any more; (order id, charge key)."""
    order_id, attempt_id = new_order_id(), str(uuid4())
    databases.query("payment_service", INSERT_PAYMENT, order_id, str(payment_id(UUID(order_id))))
    databases.query("payment_service", INSERT_ATTEMPT, attempt_id, order_id)
    return order_id, attempt_id


def test_a_charge_whose_worker_died_before_recording_it_is_found(databases: Databases, processes: Processes) -> None:
    """Given a charge in the provider's book and none in ours, then the successor asks, and charges no second time."""
    order_id, attempt_id = _left_by_a_dead_worker(databases)
    databases.query("psp", INSERT_CHARGE, attempt_id, "APPROVED")

    process = processes.start_ready("payment_service")
    _wait_for(databases, order_id, "PAYMENT_SUCCESS")

    assert _book(databases) == [("APPROVED", 10)]
    reference = "select psp_reference from payments where order_id = %s"
    assert databases.value("payment_service", reference, order_id) == "psp_1"
    assert process.terminate() == 0


def test_a_charge_that_is_awaited_outlives_every_process(databases: Databases, processes: Processes) -> None:
    """Given a charge that the provider carried out while nobody was there to be told, then whoever comes next asks."""
    order_id, attempt_id = new_order_id(), str(uuid4())
    databases.query("payment_service", INSERT_PAYMENT, order_id, str(payment_id(UUID(order_id))))
    databases.query("payment_service", INSERT_AWAITED, attempt_id, order_id)
    databases.query("psp", INSERT_CHARGE, attempt_id, "APPROVED")

    process = processes.start_ready("payment_service")
    _wait_for(databases, order_id, "PAYMENT_SUCCESS")
    assert _book(databases) == [("APPROVED", 10)]
    assert process.terminate() == 0


def test_the_last_attempt_of_a_dead_worker_is_found_too(databases: Databases, processes: Processes) -> None:
    """Given two declined attempts and a third that was charged but not recorded, then it is the one that counts."""
    order_id, attempt_id = _left_by_a_dead_worker(databases)
    databases.query("payment_service", "update payments set mode = 'manual', attempts = 3")
    for _ in range(2):
        databases.query("payment_service", INSERT_DECLINED, str(uuid4()), order_id)
    databases.query("psp", INSERT_CHARGE, attempt_id, "APPROVED")

    process = processes.start_ready("payment_service")
    _wait_for(databases, order_id, "PAYMENT_SUCCESS")
    assert _book(databases) == [("APPROVED", 10)]
    assert process.terminate() == 0


def test_kill_in_the_middle_of_many_confirmations_charges_each_once(
    broker: Broker, databases: Databases, processes: Processes, rpc: RpcClient
) -> None:
    """Given kill -9 behind the customers' requests, then each is charged once, or waits to be asked once more."""
    payment = processes.start_ready("payment_service", **NO_LIMIT)
    orders = [new_order_id() for _ in range(40)]
    for order_id in orders:
        broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id, paymentMode="manual"))
    waiting = "select count(*) from payments where status = 'PENDING'"
    wait_until(lambda: databases.value("payment_service", waiting) == len(orders), "all wait for their customers")
    for order_id in orders:
        _confirm(rpc, order_id, idempotency_key=order_id)
    payment.kill()

    successor = processes.start_ready("payment_service", **NO_LIMIT)
    for order_id in orders:
        assert _confirm(rpc, order_id, idempotency_key=order_id)["replayed"] is True
    told = "select count(*) from outbox where event_type = 'PAYMENT_SUCCESS'"
    wait_until(lambda: databases.value("payment_service", told) == len(orders), "all are charged")
    assert _book(databases) == [("APPROVED", 10)] * len(orders)
    assert successor.terminate() == 0


def test_what_is_not_ended_at_the_limit_fails_and_is_undone(
    broker: Broker, databases: Databases, processes: Processes, rpc: RpcClient
) -> None:
    """Given a provider that is still at it after the limit, then the payment fails, and its late success is void."""
    process = processes.start_ready("payment_service", PSP_LIMIT_S="3", PSP_WEBHOOK_SECRET=SECRET)
    by_itself, by_hand = new_order_id(), new_order_id()
    broker.publish_event("INVENTORY_RESERVED", inventory_reserved(by_itself, paymentMethod="tok_async_late"))
    broker.publish_event("INVENTORY_RESERVED", inventory_reserved(by_hand, paymentMode="manual"))
    _wait_for(databases, by_hand, "PAYMENT_PENDING")
    _confirm(rpc, by_hand, "tok_async_late")

    _wait_for(databases, by_itself, "PAYMENT_FAILED", "PAYMENT_CANCELLED")
    _wait_for(databases, by_hand, "PAYMENT_PENDING", "PAYMENT_FAILED", "PAYMENT_CANCELLED")
    reasons = "select distinct payload->>'reason' from outbox where event_type = 'PAYMENT_FAILED'"
    assert databases.query("payment_service", reasons) == [("psp_timeout",)]
    wait_until(lambda: [status for status, _ in _book(databases)] == ["VOIDED", "VOIDED"], "both are undone")

    charges = databases.query("payment_service", "select id::text from payment_attempts where kind = 'CHARGE'")
    assert [_webhook(rpc, key) for (key,) in charges] == [{"applied": False}] * 2
    undone = "select count(*) from payment_attempts where kind = 'VOID' and status = 'SUCCEEDED'"
    wait_until(lambda: databases.value("payment_service", undone) == 2, "both are known to be undone")
    assert [_webhook(rpc, key) for (key,) in charges] == [{"applied": False}] * 2
    assert _status(databases, by_itself) == _status(databases, by_hand) == "FAILED"
    assert databases.value("payment_service", "select count(*) from ledger_entries") == 0
    assert process.terminate() == 0


def test_a_charge_that_never_reached_the_provider_is_made(databases: Databases, payment: ServiceProcess) -> None:
    """Given an attempt of a dead worker that the provider never saw, then it is charged once."""
    order_id, _ = _left_by_a_dead_worker(databases)

    _wait_for(databases, order_id, "PAYMENT_SUCCESS")
    assert _book(databases) == [("APPROVED", 10)]


def test_a_cancelled_order_whose_charge_is_found_is_voided(
    broker: Broker, databases: Databases, processes: Processes
) -> None:
    """Given a charge in the book and an order cancelled meanwhile, then it is undone and no success is ever said."""
    order_id, attempt_id = _left_by_a_dead_worker(databases)
    databases.query("payment_service", "update payments set status = 'CANCELLED', cancelled = true")
    databases.query("psp", INSERT_CHARGE, attempt_id, "APPROVED")

    process = processes.start_ready("payment_service")
    _wait_for(databases, order_id, "PAYMENT_CANCELLED")

    assert [status for status, _ in _book(databases)] == ["VOIDED"]
    assert databases.value("payment_service", "select count(*) from ledger_entries") == 0
    assert process.terminate() == 0


def test_kill_in_the_middle_of_many_charges_charges_each_once(
    broker: Broker, databases: Databases, processes: Processes
) -> None:
    """Given kill -9 while charges are under way, then after the restart each order is charged once and told so."""
    payment = processes.start_ready("payment_service", **NO_LIMIT)
    orders = [new_order_id() for _ in range(150)]
    for order_id in orders:
        broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id))
    wait_until(lambda: databases.value("psp", "select count(*) from charges"), "charging has begun")
    payment.kill()

    successor = processes.start_ready("payment_service", **NO_LIMIT)
    told = "select count(*) from outbox where event_type = 'PAYMENT_SUCCESS'"
    wait_until(lambda: databases.value("payment_service", told) == len(orders), "all are charged")
    assert _book(databases) == [("APPROVED", 10)] * len(orders)
    assert successor.terminate() == 0


def test_the_tombstone_keeps_a_cancelled_order_from_being_charged(
    broker: Broker, databases: Databases, payment: ServiceProcess
) -> None:
    """Given ORDER_CANCELLED before INVENTORY_RESERVED, then nothing is charged."""
    order_id, later = new_order_id(), new_order_id()
    broker.publish_event("ORDER_CANCELLED", order_cancelled(order_id))
    _wait_for(databases, order_id, "PAYMENT_CANCELLED")
    broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id))
    broker.publish_event("INVENTORY_RESERVED", inventory_reserved(later))
    _wait_for(databases, later, "PAYMENT_SUCCESS")

    assert _events(databases, order_id) == ["PAYMENT_CANCELLED"]
    assert _book(databases) == [("APPROVED", 10)]


def test_cancelling_a_paid_order_refunds_it_once(broker: Broker, databases: Databases, payment: ServiceProcess) -> None:
    """Given ORDER_CANCELLED several times after the charge, then the money goes back once, in full."""
    order_id = new_order_id()
    broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id))
    _wait_for(databases, order_id, "PAYMENT_SUCCESS")
    for _ in range(5):
        broker.publish_event("ORDER_CANCELLED", order_cancelled(order_id))

    _wait_for(databases, order_id, "PAYMENT_SUCCESS", "PAYMENT_REFUNDED")
    assert _book(databases) == [("APPROVED", 0)]
    assert _status(databases, order_id) == "REFUNDED"
    assert databases.value("payment_service", "select sum(amount) from ledger_entries") == 0


def test_released_stock_cancels_an_intent_but_never_refunds(
    broker: Broker, databases: Databases, payment: ServiceProcess
) -> None:
    """Given INVENTORY_REFUNDED for an unpaid and for a paid order, then only the intent is cancelled."""
    unpaid, paid = new_order_id(), new_order_id()
    broker.publish_event("INVENTORY_RESERVED", inventory_reserved(unpaid, paymentMode="manual"))
    broker.publish_event("INVENTORY_RESERVED", inventory_reserved(paid))
    _wait_for(databases, unpaid, "PAYMENT_PENDING")
    _wait_for(databases, paid, "PAYMENT_SUCCESS")
    broker.publish_event("INVENTORY_REFUNDED", inventory_refunded(paid))
    broker.publish_event("INVENTORY_REFUNDED", inventory_refunded(unpaid))

    _wait_for(databases, unpaid, "PAYMENT_PENDING", "PAYMENT_CANCELLED")
    assert _events(databases, paid) == ["PAYMENT_SUCCESS"]
    assert _book(databases) == [("APPROVED", 10)]


def test_no_charge_begins_that_could_outlast_its_reservation(
    broker: Broker, databases: Databases, payment: ServiceProcess
) -> None:
    order_id = new_order_id()
    broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id, expiresAt=in_seconds(10)))

    _wait_for(databases, order_id, "PAYMENT_FAILED")
    assert _book(databases) == []


@pytest.mark.parametrize("reason", ["insufficient_funds", "card_declined", "limit_exceeded"])
def test_a_decline_is_told_with_its_reason(
    broker: Broker, databases: Databases, payment: ServiceProcess, reason: str
) -> None:
    order_id = new_order_id()
    broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id, paymentMethod=f"tok_{reason}"))

    _wait_for(databases, order_id, "PAYMENT_FAILED")
    statement = "select payload->>'reason' from outbox where aggregate_id = %s"
    assert databases.value("payment_service", statement, order_id) == reason
    assert databases.value("payment_service", "select count(*) from ledger_entries") == 0


def test_a_provider_out_of_order_is_asked_again(broker: Broker, databases: Databases, payment: ServiceProcess) -> None:
    """Given a provider that fails for a while, then the charge is unknown, asked for, and made once."""
    order_id = new_order_id()
    databases.query("psp", "alter table charges rename to charges_away")
    try:
        broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id))
        unknown = "select count(*) from payment_attempts where status = 'UNKNOWN'"
        wait_until(lambda: databases.value("payment_service", unknown), "the outcome is unknown")
    finally:
        databases.query("psp", "alter table charges_away rename to charges")

    _wait_for(databases, order_id, "PAYMENT_SUCCESS")
    assert _book(databases) == [("APPROVED", 10)]
    assert databases.value("payment_service", "select tries from payment_attempts") >= 1


def test_absurd_amounts_are_dead_lettered(broker: Broker, payment: ServiceProcess) -> None:
    queue = "payment_service.INVENTORY_RESERVED"
    for price in ("-1.00", "0.00", "0", "1.001", "99999999999.00"):
        broker.publish_event("INVENTORY_RESERVED", inventory_reserved(new_order_id(), price=price))

    wait_until(lambda: broker.depth(f"{queue}.dead") == 5, "all are dead letters")
    assert {letter.headers["x-error-code"] for letter in broker.dead(queue)} == {"invalid_payload"}
