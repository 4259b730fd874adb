"""kill -9 of everything in turn while orders are placed: no accepted order is lost, and all of them end whole."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from harness.broker import Broker
from harness.databases import SERVICES, Databases
from harness.freezing import frozen_broker
from harness.processes import Processes
from harness.shop import Shop
from harness.waiting import wait_until
from harness.whole import assert_whole

from ops.stack import Stack

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("services", "clean")]

CUSTOMERS = 3
CARDS = ("tok_success", "tok_success", "tok_card_declined")


@pytest.fixture(scope="module")
def services(processes: Processes, relay_settings: Mapping[str, str]) -> None:
    processes.start_saga(SERVICES, **relay_settings)


class Customers:
    """Threads that place orders, one after another, until told to stop; each order once, whatever happens."""

    def __init__(self, shop: Shop, items: list[str]) -> None:
        self._shop = shop
        self._orders = zip(itertools.cycle(items), itertools.cycle(CARDS), strict=False)
        self._lock, self._enough = threading.Lock(), threading.Event()
        self.accepted: list[str] = []
        self.errors: list[Exception] = []
        self._threads = [threading.Thread(target=self._buy) for _ in range(CUSTOMERS)]

    def _buy(self) -> None:
        try:
            while not self._enough.is_set():
                with self._lock:
                    item, card = next(self._orders)
                self.accepted.append(self._shop.place_whatever_happens(item, paymentMethod=card))
        except Exception as error:
            self.errors.append(error)

    def wait_for_more(self, count: int = 15) -> None:
        wanted = len(self.accepted) + count
        wait_until(lambda: self.errors or len(self.accepted) >= wanted, "more orders are accepted", timeout_s=150)

    @contextmanager
    def buying(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            self.wait_for_more()
            yield
            self.wait_for_more()
        finally:
            self._enough.set()
            for thread in self._threads:
                thread.join(180)
        assert self.errors == []


@pytest.fixture
def customers(shop: Shop) -> Customers:
    """Plenty of one item; another one that sells out."""
    return Customers(shop, [shop.product(on_hand=10_000), shop.product(on_hand=30)])


def _all_ended_whole(customers: Customers, shop: Shop, databases: Databases, broker: Broker) -> None:
    shop.wait_until_all_ended(timeout_s=90)
    known = {row[0] for row in databases.query("order_service", "select id::text from orders")}
    assert set(customers.accepted) <= known
    assert len(known) == len(customers.accepted), "an order was placed twice"
    assert_whole(databases, broker)


@pytest.mark.parametrize("command", ["serve", "relay"])
def test_each_process_killed_in_turn(
    processes: Processes, customers: Customers, shop: Shop, databases: Databases, broker: Broker, command: str
) -> None:
    with customers.buying():
        for service in SERVICES:
            for process in processes.of(service, command):
                process.restart_killed()
                process.wait_ready()
                customers.wait_for_more(5)
    _all_ended_whole(customers, shop, databases, broker)


def test_the_broker_killed(
    stack: Stack, processes: Processes, customers: Customers, shop: Shop, databases: Databases, broker: Broker
) -> None:
    """Given kill -9 of RabbitMQ, then the same processes of ours find it again and nothing is lost."""
    before = [process.pid for process in processes.all]
    with customers.buying():
        stack.kill("rabbitmq")
        stack.up(infrastructure_only=True)
    _all_ended_whole(customers, shop, databases, broker)
    assert [process.pid for process in processes.all if process.is_alive] == before


def test_the_database_server_killed(
    stack: Stack, processes: Processes, customers: Customers, shop: Shop, databases: Databases, broker: Broker
) -> None:
    """Given kill -9 of PostgreSQL, all databases at once, then events are held meanwhile, none is a dead letter."""
    before = [process.pid for process in processes.all]
    with customers.buying():
        stack.kill("postgres")
        stack.up(infrastructure_only=True)
    _all_ended_whole(customers, shop, databases, broker)
    assert [process.pid for process in processes.all if process.is_alive] == before


def test_sigterm_ends_a_service_whose_broker_is_frozen(
    stack: Stack, processes: Processes, databases: Databases, broker: Broker, customers: Customers, shop: Shop
) -> None:
    """Given a broker that answers nothing, then services and relays told to end do end, and lose nothing."""
    with customers.buying():
        pass
    with frozen_broker(stack):
        for process in processes.all:
            process.send(signal.SIGTERM)
        for process in processes.all:
            assert process.wait_end() == 0, process.log
    for process in processes.all:
        process.start()
    for process in processes.all:
        process.wait_ready()
    _all_ended_whole(customers, shop, databases, broker)
