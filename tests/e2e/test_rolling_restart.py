"""Every process of ours is replaced while customers order: no request fails, and no order is left half done."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from harness.crowd import at_work
from harness.databases import Databases
from harness.gateway import TIMEOUT_S, Gateway, key
from harness.waiting import wait_until

from ops.applications import GATEWAY, PSP, RELAYS, REPLICABLE, SERVICES, replica_names
from ops.processes import is_alive
from ops.stack import Stack

pytestmark = pytest.mark.e2e

# A service that has no time for five seconds is no failure of ours: nobody tries twice here.
SETTINGS = {"RPC_TIMEOUT_S": "30"}
REPLICAS = dict.fromkeys(REPLICABLE, 2)
CLIENTS = 4
ORDERS_BETWEEN = 10


@dataclass
class Customers:
    """Threads that place and look, over one connection for as long as the gateway keeps it; nobody tries twice."""

    gateway: Gateway
    item: str
    placed: list[str] = field(default_factory=list)
    failures: list[Any] = field(default_factory=list)

    def work(self, enough: threading.Event) -> None:
        connection = http.client.HTTPConnection(urlsplit(self.gateway.address).netloc, timeout=TIMEOUT_S)
        body = json.dumps({"items": [{"item": self.item, "quantity": 1}]})
        while not enough.is_set():
            order = self._ask(connection, "POST", "/orders", body, wanted=202)
            if order is not None:
                self.placed.append(str(order["id"]))
                self._ask(connection, "GET", f"/orders/{order['id']}", None, wanted=200)
        connection.close()

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: str | None, *, wanted: int
    ) -> Any:
        headers = {"Content-Type": "application/json", **self.gateway.people.headers("POST", "/orders", None), **key()}
        try:
            connection.request(method, f"/api/v1{path}", body, headers)
            with connection.getresponse() as response:
                status, answer = response.status, json.load(response)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self.failures.append((method, repr(error)))
            return None
        if status != wanted:
            self.failures.append((method, status, answer))
            return None
        return answer

    def wait_for_more(self) -> None:
        enough = len(self.placed) + ORDERS_BETWEEN
        wait_until(lambda: len(self.placed) >= enough or self.failures, "more orders are placed")
        assert self.failures == []


@pytest.fixture
def customers(gateway: Gateway, databases: Databases) -> Iterator[Customers]:
    customers = Customers(gateway=gateway, item=gateway.product(on_hand=1_000_000))
    gateway.order(customers.item)
    with at_work(customers.work, CLIENTS):
        customers.wait_for_more()
        yield customers
    assert customers.failures == []
    count = "select count(*) from order_items where item = %s"
    assert databases.value("order_service", count, customers.item) == len(customers.placed) + 1
    assert len(set(customers.placed)) == len(customers.placed)


@pytest.mark.parametrize("kind", [*SERVICES, *RELAYS, PSP, GATEWAY])
def test_no_request_fails_while_every_process_is_replaced(customers: Customers, stack: Stack, kind: str) -> None:
    """Given two of each kind, when they are ended one after the other as `ordersaga restart` does."""
    for name in replica_names(kind, REPLICAS.get(kind, 1)):
        stack.restart(name)
        customers.wait_for_more()

    ends = {p.name: p.last_exit for p in stack.processes() if p.name in replica_names(kind, 2)}
    assert set(ends.values()) == {"exit 0"}, ends


def test_no_request_fails_while_the_gateway_reads_its_settings_again(customers: Customers, stack: Stack) -> None:
    """Given SIGHUP, then new workers take over, and the process stays."""
    (gateway,) = [process for process in stack.processes() if process.name == GATEWAY]
    assert gateway.pid is not None
    workers = _children(gateway.pid)

    os.kill(gateway.pid, signal.SIGHUP)

    wait_until(lambda: not workers & _children(gateway.pid), "the old workers are gone")
    customers.wait_for_more()
    (after,) = [process for process in stack.processes() if process.name == GATEWAY]
    assert after.pid == gateway.pid


def test_connections_wait_for_a_gateway_that_was_killed(gateway: Gateway, stack: Stack) -> None:
    """Given that it is dead, and not about to take one more connection into its grave."""
    killed = stack.kill(GATEWAY)
    wait_until(lambda: not is_alive(killed), "the gateway is dead")
    assert gateway.call("GET", "/health/live")[0] == 200


def _children(pid: int) -> set[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return {int(child) for child in children.read().split()}
