"""The finance view with everything real: orders through the gateway, Debezium, the stream, the ledger beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from harness.change_data import NEEDS_DEBEZIUM, forget_finance
from harness.databases import Databases
from harness.gateway import BUSY, Gateway
from harness.waiting import wait_until

from ops.change_data import send_command
from ops.finance import exit_code
from ops.people import NO_LIMITS, SHOP, people_of
from ops.stack import Stack
from shared.change_data.captured import CAPTURED

pytestmark = [*NEEDS_DEBEZIUM]

PATH = "/admin/finance"
STALE_AFTER_S = 5
SETTINGS = {**NO_LIMITS, "FINANCE_STALE_AFTER_S": str(STALE_AFTER_S), "CDC_HEARTBEAT_S": "1"}
# Two JVMs start meanwhile, and share two cores with everything else.
TOLD_WITHIN_S = 180.0


@pytest.fixture(scope="module")
def gateway(empty_stack: None, stack: Stack, stack_environment: Mapping[str, str]) -> Iterator[Gateway]:
    """The whole stack with change data capture, its stream and its finance view empty."""
    forget_finance(stack_environment)
    stack.up(infrastructure_only=False, settings=SETTINGS, cdc=True)
    environment = stack.environment()
    yield Gateway(environment["GATEWAY_URL"], people_of(environment))
    stack.up(infrastructure_only=True, settings=dict.fromkeys(SETTINGS, ""), cdc=False)


def told(gateway: Gateway, holds: Callable[[Mapping[str, Any]], bool], what: str) -> dict[str, Any]:
    """The view as soon as that holds of it."""

    def there() -> dict[str, Any] | None:
        status, view, _ = gateway.call("GET", PATH)
        # It is asked for four seconds at most, and may still be starting.
        assert status in (200, *BUSY), view
        return view if status == 200 and holds(view) else None

    return wait_until(there, what, timeout_s=TOLD_WITHIN_S)


def agrees(view: Mapping[str, Any]) -> bool:
    return view["reconciliation"]["verdict"] == "agrees" and not view["isStale"]


def total(view: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Of all days: midnight may come meanwhile."""
    return {name: one[name] for one in view["totals"] for name in names}


def fits(view: Mapping[str, Any]) -> bool:
    """All rows of every order are told: none differs, not even for now."""
    return not view["differences"]["orders"]


def ledger(databases: Databases) -> dict[str, Decimal]:
    [(captured, refunded)] = databases.query(
        "payment_service",
        "select coalesce(sum(amount) filter (where amount > 0), 0), "
        "coalesce(-sum(amount) filter (where amount < 0), 0) "
        "from ledger_entries where account = 'psp_receivable'",
    )
    return {"captured": captured, "refunded": refunded}


def sums(view: Mapping[str, Any]) -> dict[str, Decimal]:
    """Of all currencies; nothing while nothing is told."""
    totals = view["totals"]
    return {name: sum((Decimal(total[name]) for total in totals), Decimal()) for name in ("captured", "refunded")}


def test_agrees_with_the_ledger_also_after_pauses_and_kills(
    gateway: Gateway, databases: Databases, stack: Stack
) -> None:
    """Given orders that are paid, given back in part and cancelled, then the view comes to what the ledger says; while
    nothing is captured it is behind, then stale, and no difference is claimed; then it agrees again, also after a kill.
    """
    item = gateway.product(100)
    _, partly, gone = (gateway.ended(gateway.order(item), "CONFIRMED") for _ in range(3))
    status, _ = gateway.post(f"/payments/{partly['payment']['paymentId']}/refund", {"amount": "2.50"})
    assert status == 202
    assert gateway.post(f"/orders/{gone['id']}/cancel")[0] == 202
    gateway.ended(gone["id"], "CANCELLED")
    wait_until(lambda: ledger(databases) == {"captured": 30, "refunded": Decimal("12.50")}, "all money has moved")

    # The sums come from some tables, orders from another database, what does not fit from both: each is told by itself.
    expected = {"standingOrders": 2, "placedOrders": 3, "ordered": "20.00", "orderedCaptured": "20.00", "net": "17.50"}
    view = told(
        gateway,
        lambda v: agrees(v) and sums(v) == ledger(databases) and fits(v) and total(v, expected) == expected,
        "the view agrees",
    )
    assert {row["sellerId"] for row in view["rows"]} == {SHOP}
    assert exit_code(view) == 0

    # Nothing is captured any more.
    uri = stack.environment()["AMQP_URI"]
    for captured in CAPTURED.values():
        send_command(uri, captured, "pause")
    told(gateway, lambda v: v["isStale"], "the view is stale")
    gateway.ended(gateway.order(item), "CONFIRMED")
    behind = told(gateway, lambda v: v["reconciliation"]["verdict"] == "behind", "the view is behind")
    [line] = behind["reconciliation"]["lines"]
    assert (line["missing"]["captured"], line["settledMissing"]["captured"]) == ("10.00", "0.00")
    # Stale is the view by the older of both databases; the ledger's lag is that of the payments alone.
    assert behind["reconciliation"]["lagS"] > 0
    assert behind["isStale"]

    stack.kill("finance_feed")
    for captured in CAPTURED.values():
        send_command(uri, captured, "resume")
    view = told(gateway, lambda v: agrees(v) and sums(v) == ledger(databases), "the view has caught up")
    assert sums(view)["captured"] == 40
    assert view["stream"]["unreadable"] == 0
    assert view["isWhole"]

    # A real difference, made by hand: money in the ledger that no payment explains.
    entry = (
        "insert into ledger_entries (transaction_id, order_id, account, amount, currency, at) "
        "values (%s, %s, %s, %s, 'EUR', now())"
    )
    transaction, order = str(uuid4()), str(uuid4())
    for account, amount in (("psp_receivable", 7), ("customer_payments", -7)):
        databases.query("payment_service", entry, transaction, order, account, amount)
    view = told(gateway, lambda v: v["reconciliation"]["verdict"] == "differs", "it really differs")
    assert view["reconciliation"]["lines"][0]["settledMissing"]["captured"] == "7.00"
    assert exit_code(view) == 5
