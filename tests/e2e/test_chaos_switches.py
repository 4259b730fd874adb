"""Trouble made on purpose through the gateway and by the `ordersaga` command, on the stack as people start it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from harness.databases import Databases
from harness.gateway import Gateway, key
from harness.waiting import wait_until

from ops.cli import main
from ops.stack import Stack

pytestmark = pytest.mark.e2e

WHY = {"note": "a test", "durationS": 600}
ENDED_WITHIN_S = 120.0


@pytest.fixture(autouse=True)
def _all_off(gateway: Gateway, _whole_afterwards: None) -> Iterator[None]:
    yield
    wait_until(lambda: gateway.call("DELETE", "/admin/chaos")[0] == 200, "everything is off")


def marked(gateway: Gateway) -> list[Any]:
    _, ready, _ = gateway.call("GET", "/health/ready")
    return [mark["kind"] for mark in ready.get("chaos", [])]


def in_hand(gateway: Gateway) -> list[Any]:
    """As the services say at this moment; the probe's answer may be a second old, and each worker has its own."""
    return [mark["kind"] for mark in gateway.get("/admin/health").get("chaos", [])]


def healthy(gateway: Gateway) -> dict[str, Any] | None:
    """What /admin/health says, once it says of every part that it is up."""
    health = gateway.get("/admin/health")
    return health if health["status"] == "up" else None


def placed_whatever_happens(gateway: Gateway, item: str) -> str:
    """Like a careful client: the same key again until there is an answer."""
    body, once = {"items": [{"item": item, "quantity": 1}]}, key()
    return str(wait_until(lambda: gateway.call("POST", "/orders", body, once)[1].get("id"), "the order is accepted"))


def ordersaga(stack: Stack, *arguments: str) -> Any:
    result = CliRunner().invoke(main, ["--stack", str(stack.folder), "chaos", *arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_over_http(gateway: Gateway) -> None:
    """Given a switch, then health shows it and stays ready; it is in the audit log; it ends by hand and is gone."""
    status, switch, _ = gateway.call(
        "POST", "/admin/chaos", {"kind": "relay_pause", "target": "payment_service", **WHY}
    )
    assert (status, switch["service"], switch["setBy"]) == (200, "payment_service", "operator")
    wait_until(lambda: marked(gateway) == ["relay_pause"], "the probe shows it")
    health = wait_until(lambda: healthy(gateway), "all parts answer its probe")
    assert [mark["until"] for mark in health["chaos"]] == [switch["until"]]
    [listed] = gateway.get("/admin/chaos")["switches"]
    assert (listed["id"], listed["note"]) == (switch["id"], "a test")

    assert gateway.call("DELETE", f"/admin/chaos/{switch['id']}")[0] == 200
    assert gateway.call("DELETE", f"/admin/chaos/{switch['id']}")[0] == 404
    wait_until(lambda: marked(gateway) == [], "it is gone")
    entries = gateway.get(f"/admin/audit?objectId={switch['id']}")["entries"]
    assert [(e["action"], e["service"]) for e in entries] == [
        ("clear_chaos", "payment_service"),
        ("set_chaos", "payment_service"),
    ]


def test_processes_that_die_again_and_again(gateway: Gateway, stack: Stack, databases: Databases) -> None:
    """Given consumers of every service that crash with whatever is new, then every order ends all the same."""
    item = gateway.product(on_hand=100)
    gateway.ended(gateway.order(item), "CONFIRMED")
    before = {p.name: p.pid for p in stack.processes()}
    for kind, service in (
        ("consumer_crash_before", "order_service"),
        ("consumer_crash_after", "inventory_service"),
        ("consumer_crash_after", "payment_service"),
    ):
        wanted = {"kind": kind, "target": service, "amount": 0.5, **WHY, "durationS": 20}
        assert gateway.call("POST", "/admin/chaos", wanted)[0] == 200
    wait_until(lambda: len(in_hand(gateway)) == 3, "all are in hand")
    orders = [placed_whatever_happens(gateway, item) for _ in range(5)]
    left = "select count(*) from orders where status in ('PENDING', 'RESERVED')"
    wait_until(lambda: databases.value("order_service", left) == 0, "all end", timeout_s=ENDED_WITHIN_S)
    assert [gateway.ended(order, "CONFIRMED")["id"] for order in orders]
    wait_until(lambda: gateway.get("/admin/chaos")["switches"] == [], "it ends by itself")
    after = {p.name: p.pid for p in stack.processes()}
    assert [n for n in ("order_service", "inventory_service", "payment_service") if after[n] != before[n]]


def test_from_the_command_line(gateway: Gateway, stack: Stack) -> None:
    switch = ordersaga(stack, "on", "psp_decline", "--amount", "1", "--for", "10m", "--note", "rehearsal")
    wait_until(lambda: in_hand(gateway) == ["psp_decline"], "it is in hand")
    item = gateway.product(on_hand=10)
    assert gateway.ended(gateway.order(item), "CANCELLED")["reason"] == "payment_failed"
    assert [s["id"] for s in ordersaga(stack, "status")["switches"]] == [switch["id"]]

    assert ordersaga(stack, "off", switch["id"][:-4])["switches"][0]["id"] == switch["id"]
    wait_until(lambda: in_hand(gateway) == [], "it is off")
    gateway.ended(gateway.order(item), "CONFIRMED")
    ordersaga(stack, "on", "relay_pause", "--target", "order_service", "--for", "10m", "--note", "rehearsal")
    assert len(ordersaga(stack, "off", "--all")["switches"]) == 1
    assert ordersaga(stack, "status")["switches"] == []
