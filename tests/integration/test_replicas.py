"""Two replicas of every service and relay: they share the work, and the promises hold."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.broker import Broker
from harness.databases import SERVICES, Databases
from harness.processes import Processes
from harness.shop import Shop
from harness.waiting import wait_until
from harness.whole import assert_whole

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("services", "clean")]

CUSTOMERS = 16


@pytest.fixture(scope="module")
def services(processes: Processes) -> None:
    processes.start_saga(SERVICES, replicas=2)


def _place_all(shop: Shop, orders: list[tuple[str, int, str]]) -> list[str]:
    with ThreadPoolExecutor(CUSTOMERS) as pool:
        return list(pool.map(lambda o: shop.place_whatever_happens(o[0], o[1], paymentMethod=o[2]), orders))


def _count(databases: Databases, status: str, reason: str | None = None) -> int:
    statement = "select count(*) from orders where status = %s and reason is not distinct from %s"
    return int(databases.value("order_service", statement, status, reason))


def test_two_hundred_mixed_orders_end_whole(databases: Databases, broker: Broker, shop: Shop) -> None:
    """Given successes, declines and sold-out items mixed, then each ends as it must and everything adds up."""
    plenty, none = shop.product(on_hand=1_000), shop.product(on_hand=0)
    orders = (
        [(plenty, 1, "tok_success")] * 120 + [(plenty, 2, "tok_card_declined")] * 40 + [(none, 1, "tok_success")] * 40
    )
    _place_all(shop, [orders[(n * 37) % len(orders)] for n in range(len(orders))])
    shop.wait_until_all_ended()

    assert _count(databases, "CONFIRMED") == 120
    assert _count(databases, "CANCELLED", "payment_failed") == 40
    assert _count(databases, "CANCELLED", "out_of_stock") == 40
    assert_whole(databases, broker)
    assert shop.stock(plenty) == (1_000, 120)
    assert databases.value("psp", "select count(*) from charges where status = 'APPROVED'") == 120


def test_a_hundred_customers_for_ten_units(databases: Databases, broker: Broker, shop: Shop) -> None:
    """Given 100 orders at once for an item of which there are 10, then exactly 10 are confirmed."""
    item = shop.product(on_hand=10)
    _place_all(shop, [(item, 1, "tok_success")] * 100)
    shop.wait_until_all_ended()

    assert _count(databases, "CONFIRMED") == 10
    assert _count(databases, "CANCELLED", "out_of_stock") == 90
    assert_whole(databases, broker)
    assert shop.stock(item) == (10, 10)


def test_declines_make_room_for_others_and_nothing_is_oversold(
    databases: Databases, broker: Broker, shop: Shop
) -> None:
    """Given scarce stock that declined payments give back, then never more than there is becomes confirmed."""
    item = shop.product(on_hand=20)
    orders = [(item, 1 + n % 3, "tok_success" if n % 2 else "tok_insufficient_funds") for n in range(80)]
    _place_all(shop, orders)
    shop.wait_until_all_ended()

    assert_whole(databases, broker)
    on_hand, reserved = shop.stock(item)
    assert (on_hand, reserved <= 20) == (20, True)


def test_sigterm_drains_under_load(databases: Databases, broker: Broker, shop: Shop, processes: Processes) -> None:
    """Given replicas told to end one after another while orders flow, then each ends with 0 and nothing is lost."""
    item = shop.product(on_hand=1_000)
    with ThreadPoolExecutor(1) as pool:
        placing = pool.submit(_place_all, shop, [(item, 1, "tok_success")] * 200)
        wait_until(lambda: databases.value("order_service", "select count(*) from orders") > 20, "orders flow")
        for service in SERVICES:
            replica = processes.of(service)[0]
            replica.send(signal.SIGTERM)
            assert replica.wait_end() == 0
            replica.start()
            replica.wait_ready()
        placing.result(timeout=180)
    shop.wait_until_all_ended()

    assert _count(databases, "CONFIRMED") == 200
    assert_whole(databases, broker)
    assert shop.stock(item) == (1_000, 200)
