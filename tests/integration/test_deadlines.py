"""A silent service does not leave an order hanging: it is cancelled in time, and settled once the service is back."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.processes import Processes
from harness.shop import Shop
from harness.waiting import wait_until
from harness.whole import assert_whole

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("services", "clean")]

SERVICES = ("order_service", "inventory_service", "payment_service")


@pytest.fixture(scope="module")
def services(processes: Processes) -> None:
    processes.start_saga(
        SERVICES,
        # Far apart: who is to be first must be so on a busy machine too.
        PENDING_DEADLINE_S="12",
        RESERVATION_TTL_S="3",
        MANUAL_PAYMENT_TTL_S="8",
        RESERVED_GRACE_S="10",
        PSP_LIMIT_S="1",
    )


@pytest.fixture(autouse=True)
def _whole_afterwards(databases: Databases, broker: Broker, services: None) -> Iterator[None]:
    yield
    assert_whole(databases, broker)


def _signal(processes: Processes, service: str, number: signal.Signals) -> None:
    for process in processes.of(service):
        process.send(number)


def test_a_silent_inventory_cancels_at_the_deadline(processes: Processes, shop: Shop) -> None:
    """Given a frozen inventory service, then the order is cancelled as timed out; thawed, it settles."""
    item = shop.product()
    _signal(processes, "inventory_service", signal.SIGSTOP)
    try:
        order_id = shop.place(item)
        wait_until(lambda: shop.status(order_id) == ("CANCELLED", "timeout", False), "it is cancelled, unsettled")
    finally:
        _signal(processes, "inventory_service", signal.SIGCONT)

    order = shop.wait_for(order_id, "CANCELLED", "timeout")
    assert "DEADLINE_PASSED" in [event["type"] for event in order["timeline"]]
    assert shop.stock(item) == (100, 0)


def test_a_dead_payment_service_never_charges_what_was_given_up(
    processes: Processes, shop: Shop, databases: Databases
) -> None:
    """Given no payment service until the reservation has expired, then it comes back and charges nothing."""
    item = shop.product()
    [payment] = processes.of("payment_service")
    payment.kill()
    order_id = shop.place(item)
    wait_until(lambda: shop.status(order_id)[:2] == ("CANCELLED", "reservation_expired"), "it is cancelled")
    payment.start()
    payment.wait_ready()

    shop.wait_for(order_id, "CANCELLED", "reservation_expired")
    assert databases.query("psp", "select status from charges") == []
    assert shop.stock(item) == (100, 0)


def test_silence_after_the_reservation_cancels_too(processes: Processes, shop: Shop, databases: Databases) -> None:
    """Given a reserved order and no word of its expiry, then the order's own deadline cancels it."""
    item = shop.product()
    order_id = shop.place(item, paymentMode="manual")
    wait_until(lambda: shop.status(order_id)[0] == "RESERVED", "it is reserved")
    _signal(processes, "inventory_service", signal.SIGSTOP)
    try:
        wait_until(lambda: shop.status(order_id) == ("CANCELLED", "timeout", False), "it is cancelled, unsettled")
    finally:
        _signal(processes, "inventory_service", signal.SIGCONT)

    shop.wait_for(order_id, "CANCELLED", "timeout")
    assert shop.stock(item) == (100, 0)


def test_an_abandoned_checkout_gives_everything_back(shop: Shop) -> None:
    """Given an order to be paid by hand that nobody pays, then stock and intent are released."""
    item = shop.product()
    order_id = shop.place(item, 2, paymentMode="manual")

    order = shop.wait_for(order_id, "CANCELLED", "reservation_expired")
    assert {"PAYMENT_PENDING", "INVENTORY_REFUNDED", "PAYMENT_CANCELLED"} <= {e["type"] for e in order["timeline"]}
    assert shop.stock(item) == (100, 0)
