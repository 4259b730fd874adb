"""Broker, database or a service killed or frozen while requests run: honest answers in time, then all is well."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from harness.crowd import at_work
from harness.databases import Databases
from harness.gateway import Gateway
from harness.waiting import wait_until

from ops.scenarios.freezing import frozen
from ops.stack import Stack

pytestmark = pytest.mark.e2e

CLIENTS = 4
HONEST = {
    503: {"service_unavailable", "broker_unavailable", "database_unavailable", "transient_error", "reply_lost"},
    504: {"service_timeout", "outcome_unknown"},
}
"""What a client may be told while a part is down; each with Retry-After."""


@dataclass
class Clients:
    """Threads that place orders and look at them, and write down each answer that is no success."""

    gateway: Gateway
    item: str
    accepted: dict[str, str] = field(default_factory=dict)
    unsure: list[str] = field(default_factory=list)
    problems: list[tuple[int, str | None]] = field(default_factory=list)
    dishonest: list[Any] = field(default_factory=list)

    def work(self, enough: threading.Event) -> None:
        while not enough.is_set():
            key = uuid4().hex
            try:
                self._place(key)
                self._look()
            except (OSError, http.client.HTTPException) as error:
                # A hang ends as the client's own timeout, which is longer than any deadline of the gateway.
                self.dishonest.append(repr(error))

    def _place(self, key: str) -> None:
        answer = self.place(key)
        if answer is None:
            self.unsure.append(key)
        else:
            self.accepted[key] = answer

    def place(self, key: str) -> str | None:
        """The order's id; None when it was told honestly that it may or may not have been placed."""
        body = {"items": [{"item": self.item, "quantity": 1}]}
        status, answer, headers = self.gateway.call("POST", "/orders", body, {"Idempotency-Key": key})
        if status == 202:
            return str(answer["id"])
        self._judge(status, answer, headers)
        return None

    def _look(self) -> None:
        status, answer, headers = self.gateway.call("GET", "/orders?limit=1")
        if status != 200:
            self._judge(status, answer, headers)

    def _judge(self, status: int, answer: Any, headers: Any) -> None:
        self.problems.append((status, answer.get("code")))
        is_honest = answer.get("code") in HONEST.get(status, set()) and "Retry-After" in headers
        if not is_honest:
            self.dishonest.append((status, answer))


def _killed(stack: Stack, name: str) -> Any:
    stack.kill(name)
    return nullcontext()


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """``is_noticed``: a service that is back within a request's deadline finds the request in its queue."""

    cause: Callable[[Stack], Any]
    is_noticed: bool = True


TROUBLES = {
    "the broker is killed": Trouble(cause=lambda stack: _killed(stack, "rabbitmq")),
    "the broker is frozen": Trouble(cause=lambda stack: frozen(stack, "rabbitmq")),
    "PostgreSQL is killed": Trouble(cause=lambda stack: _killed(stack, "postgres")),
    "the order service is killed": Trouble(cause=lambda stack: _killed(stack, "order_service"), is_noticed=False),
    "the order service is frozen": Trouble(cause=lambda stack: frozen(stack, "order_service")),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
def test_honest_answers_in_time_and_all_well_afterwards(
    gateway: Gateway, stack: Stack, databases: Databases, trouble: Trouble
) -> None:
    clients = Clients(gateway=gateway, item=gateway.product(on_hand=1_000_000))
    gateway.order(clients.item)

    with at_work(clients.work, CLIENTS):
        wait_until(lambda: len(clients.accepted) >= 10, "orders are accepted")
        with trouble.cause(stack):
            if trouble.is_noticed:
                wait_until(lambda: len(clients.problems) >= CLIENTS, "the trouble is noticed")
        accepted = len(clients.accepted)
        wait_until(lambda: len(clients.accepted) >= accepted + 10, "orders are accepted again", timeout_s=180)

    assert clients.dishonest == []
    # Nobody knows of these whether they were placed: repeated with their keys, each is, and once.
    for key in clients.unsure:
        clients.accepted[key] = wait_until(lambda key=key: clients.place(key), "the repeated order is accepted")
    for key, order_id in list(clients.accepted.items())[-20:]:
        assert clients.place(key) == order_id
    count = "select count(*) from order_items where item = %s"
    assert databases.value("order_service", count, clients.item) == len(clients.accepted) + 1
    assert len(set(clients.accepted.values())) == len(clients.accepted)
