"""Reconciliation through the gateway: damage done on purpose is found, named, and repaired where that is safe.

Every damage is what a bug or a lost message would leave behind, done in SQL. After each test all must be whole again:
by the repair, or because the damage is undone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from harness.broker import Broker
from harness.databases import Databases
from harness.gateway import Gateway, key, payment_path
from harness.people import CUSTOMER, OPERATOR, SELLER
from harness.ports import free_port
from harness.processes import ROOT
from harness.waiting import wait_until

from gateway.rpc import RpcClient
from ops.cli import main
from ops.operator_client import OperatorClient
from ops.passes import Pass, run_pass, settle
from ops.people import client_of
from ops.reconcile import DIFFERS
from ops.stack import Stack
from shared.errors import Conflict, Forbidden, InvalidRequest, PaymentNotFound, ReservationNotFound

pytestmark = pytest.mark.e2e

SETTLED_S = 60.0
UNKNOWN = "01a214ee-bc8e-72a8-afa8-ffc5d434af6e"
DEAD = "inventory_service.ORDER_CREATED.dead"


@pytest.fixture(scope="module")
def operator(gateway: Gateway, stack: Stack) -> OperatorClient:
    return OperatorClient(client_of(stack.environment()))


def found_of(gateway: Gateway, order_id: str) -> dict[str, dict[str, Any]]:
    """By code, what is found of an order that is at rest."""

    def at_rest() -> dict[str, Any] | None:
        answer = gateway.get(f"/admin/reconcile/orders?ids={order_id}&quiet=1")
        return None if answer["unsettled"] else answer

    answer = wait_until(at_rest, "the order is at rest", timeout_s=SETTLED_S)
    return {one["code"]: one for one in answer["discrepancies"]}


def found(gateway: Gateway, order_id: str, code: str) -> dict[str, Any]:
    return wait_until(lambda: found_of(gateway, order_id).get(code), f"{code} is found", timeout_s=SETTLED_S)


def repaired(gateway: Gateway, one: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to its repair, once nothing is found of its order any more."""
    wanted = {"code": one["code"], "orderId": one["orderId"], "subject": one["subject"], "quiet": 1}
    status, answer = gateway.post("/admin/reconcile/repairs", wanted)
    assert (status, answer["repaired"]) == (200, True), answer
    wait_until(lambda: not found_of(gateway, one["orderId"]), "nothing is found any more", timeout_s=SETTLED_S)
    return answer


# Orders of every kind, each a test's own


def confirmed(gateway: Gateway) -> str:
    return str(gateway.ended(gateway.order(gateway.product(on_hand=9), 2), "CONFIRMED")["id"])


def fulfilled(gateway: Gateway) -> str:
    return str(gateway.fulfilled(gateway.product(on_hand=9), 2)["id"])


def returned(gateway: Gateway) -> str:
    order_id = fulfilled(gateway)
    item = gateway.get(f"/orders/{order_id}")["items"][0]["item"]
    gateway.post(f"/orders/{order_id}/returns", {"items": [{"item": item, "quantity": 1}], "restock": True})
    gateway.order_when(order_id, lambda o: o["refunded"] == "10.00", "the return is refunded")
    return order_id


def cancelled(gateway: Gateway) -> str:
    order_id = confirmed(gateway)
    gateway.post(f"/orders/{order_id}/cancel")
    gateway.ended(order_id, "CANCELLED")
    return order_id


def declined(gateway: Gateway) -> str:
    order_id = gateway.order(gateway.product(on_hand=9), paymentMethod="tok_card_declined")
    return str(gateway.ended(order_id, "CANCELLED")["id"])


def refunded(gateway: Gateway) -> str:
    order = gateway.ended(gateway.order(gateway.product(on_hand=9), 2), "CONFIRMED")
    gateway.post(f"{payment_path(order)}/refund", {"amount": "1.00"})
    return str(gateway.order_when(order["id"], lambda o: o["refunded"] == "1.00", "a part is refunded")["id"])


MAKE = {
    "confirmed": confirmed,
    "fulfilled": fulfilled,
    "returned": returned,
    "cancelled": cancelled,
    "declined": declined,
    "refunded": refunded,
}

# Stock is moved as the service would: only what it means is wrong.
HELD_AGAIN = """
update stock s set reserved = s.reserved + l.quantity from order_lines l
where l.order_id = %(id)s and l.item = s.item;
insert into stock_movements (item, kind, delta_on_hand, delta_reserved, order_id, generation, at)
select item, 'reserved', 0, quantity, order_id, 1, now()
from order_lines where order_id = %(id)s;
update sagas set status = 'HELD', cancelled = false where order_id = %(id)s;
update reservations set status = 'RESERVED', ended_at = null where order_id = %(id)s
"""
NEVER_SHIPPED = """
update stock s set reserved = s.reserved + l.quantity, on_hand = s.on_hand + l.quantity from order_lines l
where l.order_id = %(id)s and l.item = s.item;
delete from stock_movements where order_id = %(id)s and kind = 'committed';
update sagas set status = 'HELD' where order_id = %(id)s;
update reservations set status = 'RESERVED', ended_at = null where order_id = %(id)s
"""
EXPIRED = """
update stock s set reserved = s.reserved - l.quantity from order_lines l
where l.order_id = %(id)s and l.item = s.item;
insert into stock_movements (item, kind, delta_on_hand, delta_reserved, order_id, generation, at)
select item, 'expired', 0, -quantity, order_id, 1, now() - interval '1 hour' from order_lines where order_id = %(id)s;
update sagas set status = 'EXPIRED' where order_id = %(id)s;
update reservations set status = 'EXPIRED', ended_at = now() - interval '1 hour' where order_id = %(id)s
"""
NEVER_RETURNED = """
update stock s set on_hand = s.on_hand - r.quantity from return_lines r
where r.order_id = %(id)s and r.item = s.item;
delete from stock_movements where order_id = %(id)s and kind = 'returned';
delete from return_lines where order_id = %(id)s
"""
CANCELLED_UNSAID = """
update orders set status = 'CANCELLED', reason = 'operator', settled_at = now(), stock = 'FREE', money = 'RETURNED',
       refunded = price where id = %(id)s
"""
UNSETTLED = """
update orders set settled_at = null, flag = 'compensation_unfinished', flagged_at = now(),
       deadline_at = now() - interval '1 hour', wake_at = null, {what} where id = %(id)s
"""
SAFE = [
    (
        "fulfilled",
        "order_service",
        "update orders set status = 'CONFIRMED', stock = 'HELD' where id = %(id)s",
        "shipment_unheard",
        "INVENTORY_COMMITTED",
    ),
    ("cancelled", "inventory_service", HELD_AGAIN, "stock_held_for_cancelled", "ORDER_CANCELLED"),
    ("confirmed", "order_service", CANCELLED_UNSAID, "stock_held_for_cancelled", "ORDER_CANCELLED"),
    ("confirmed", "order_service", CANCELLED_UNSAID, "money_kept_for_cancelled", "ORDER_CANCELLED"),
    ("fulfilled", "inventory_service", NEVER_SHIPPED, "shipped_but_held", "ORDER_FULFILLED"),
    ("confirmed", "inventory_service", EXPIRED, "confirmed_without_stock", "PAYMENT_SUCCESS"),
    ("returned", "inventory_service", NEVER_RETURNED, "return_unheard", "ORDER_RETURNED"),
    (
        "refunded",
        "order_service",
        "update orders set refunded = 0 where id = %(id)s",
        "refund_unheard",
        "PAYMENT_REFUNDED",
    ),
    (
        "cancelled",
        "order_service",
        UNSETTLED.format(what="stock = 'HELD'"),
        "stock_answer_unheard",
        "INVENTORY_REFUNDED",
    ),
    (
        "cancelled",
        "order_service",
        UNSETTLED.format(what="money = 'TAKEN', refunded = 0"),
        "money_answer_unheard",
        "PAYMENT_REFUNDED",
    ),
]


@pytest.mark.parametrize(("kind", "database", "damage", "code", "did"), SAFE)
def test_what_is_safe_is_found_and_repaired(
    gateway: Gateway, databases: Databases, kind: str, database: str, damage: str, code: str, did: str
) -> None:
    """Given an order that is whole, when one side is damaged, then it is named with its command, and the repair heals
    it."""
    order_id = MAKE[kind](gateway)
    assert found_of(gateway, order_id) == {}

    with databases.transaction(database) as cursor:
        cursor.execute(damage, {"id": order_id})
        cursor.connection.commit()

    one = found(gateway, order_id, code)
    assert (one["isSafe"], one["command"]) == (True, f"ordersaga reconcile --order {order_id} --repair")
    assert {"order", "inventory" if "inventory" in one["says"] else "payment"} <= set(one["says"])
    assert did in repaired(gateway, one)["did"]


def test_money_kept_although_the_payment_knows_is_given_back(gateway: Gateway, databases: Databases) -> None:
    """Given a cancellation that the payment has taken note of without refunding, then it is refunded by the repair."""
    order_id = confirmed(gateway)
    databases.query("order_service", CANCELLED_UNSAID.replace("%(id)s", f"'{order_id}'"))
    databases.query("payment_service", "update payments set cancelled = true where order_id = %s", order_id)

    one = found(gateway, order_id, "money_kept_for_cancelled")
    assert "the refund of 20.00 has begun" in repaired_whatever_else(gateway, one)["did"]
    other = found_of(gateway, order_id).get("stock_held_for_cancelled")
    if other:
        repaired(gateway, other)


def repaired_whatever_else(gateway: Gateway, one: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {"code": one["code"], "orderId": one["orderId"], "quiet": 1}
    status, answer = gateway.post("/admin/reconcile/repairs", wanted)
    assert (status, answer["repaired"]) == (200, True), answer
    gone = f"{one['code']} is gone"
    wait_until(lambda: one["code"] not in found_of(gateway, one["orderId"]), gone, timeout_s=SETTLED_S)
    return answer


def test_a_charge_that_nobody_wants_is_voided(gateway: Gateway, databases: Databases) -> None:
    """Given a decline after which the provider took the money all the same, then the charge is undone by the repair."""
    order_id = declined(gateway)
    charge = databases.value("payment_service", "select id::text from payment_attempts where order_id = %s", order_id)
    databases.query("psp", "update charges set status = 'APPROVED', reason = null where key = %s", charge)

    one = found(gateway, order_id, "stray_charge")
    assert (one["subject"], one["isSafe"]) == (charge, True)
    assert one["says"]["provider"].startswith("APPROVED 10.00")
    repaired(gateway, one)
    assert databases.value("psp", "select status from charges where key = %s", charge) == "VOIDED"


def test_an_event_that_was_lost_is_published_again(gateway: Gateway, databases: Databases) -> None:
    """Given a timeline without INVENTORY_RESERVED, then the gap is closed from inventory's outbox."""
    order_id = confirmed(gateway)
    lost = "delete from order_events where order_id = %s and event_type = 'INVENTORY_RESERVED' returning event_id::text"
    event_id = databases.value("order_service", lost, order_id)
    databases.query("order_service", "delete from inbox where event_id = %s", event_id)

    one = found(gateway, order_id, "timeline_gap")
    assert one["subject"] == event_id
    assert "INVENTORY_RESERVED" in repaired(gateway, one)["did"]


def test_what_nobody_ordered_is_let_go_of_when_told_so(gateway: Gateway, databases: Databases, stack: Stack) -> None:
    """Given an order that the order service has lost, then its stock and money are found, and kept until told."""
    order_id = confirmed(gateway)
    databases.query("order_service", "delete from order_items where order_id = %s", order_id)
    databases.query("order_service", "delete from orders where id = %s", order_id)

    one = found(gateway, order_id, "stock_of_unknown_order")
    assert one["isSafe"] is False
    assert one["command"].endswith(f"--order {order_id} --repair --also stock_of_unknown_order")
    assert found(gateway, order_id, "money_of_unknown_order")["says"]["order"] == "unknown"
    exit_code, told = command(stack, "--order", order_id, "--repair", "--yes")
    assert (exit_code, told["repairs"]) == (DIFFERS, [])
    exit_code, told = command(stack, "--order", order_id, "--repair", "--yes", "--also", "stock_of_unknown_order")
    assert (exit_code, [outcome["repaired"] for outcome in told["repairs"]]) == (0, [True])


def command(stack: Stack, *arguments: str) -> tuple[int, dict[str, Any]]:
    """(exit code, JSON) of `ordersaga reconcile`."""
    said = ["--stack", str(stack.folder), "reconcile", *arguments, "--quiet", "1", "--json"]
    result = CliRunner().invoke(main, said)
    assert result.exit_code in (0, DIFFERS), result.output
    return result.exit_code, json.loads(result.stdout)


# What asks for a decision is only named


_OF = "where order_id = '{id}'"
UNSAFE = [
    ("confirmed", "payment_service", "ledger_entries", "amount = amount + 1", _OF, "ledger_differs"),
    ("refunded", "payment_service", "refunds", "amount = amount + 1", _OF, "refunds_differ"),
    ("confirmed", "payment_service", "payments", "refunding = 1", _OF, "refunds_differ"),
    ("confirmed", "order_service", "orders", "refunded = 3", "where id = '{id}'", "refunds_differ"),
    ("confirmed", "payment_service", "payments", "status = 'FAILED'", _OF, "paid_without_money"),
    ("confirmed", "order_service", "orders", "price = price + 1", "where id = '{id}'", "price_differs"),
    ("confirmed", "inventory_service", "order_lines", "quantity = quantity + 1", _OF, "lines_differ"),
    ("confirmed", "inventory_service", "reservations", "status = 'RELEASED'", _OF, "holding_differs"),
    ("returned", "inventory_service", "return_lines", "quantity = quantity + 1", _OF, "return_differs"),
    (
        "fulfilled",
        "order_service",
        "orders",
        "status = 'CONFIRMED', fulfil_requested_at = null",
        "where id = '{id}'",
        "stock_gone_for_unshipped",
    ),
    (
        "confirmed",
        "order_service",
        "orders",
        "deadline_at = now() - interval '1 hour', wake_at = null, flag = 'reserved_overdue', status = 'RESERVED',"
        " money = 'UNKNOWN'",
        "where id = '{id}'",
        "money_answer_unheard",
    ),
    ("confirmed", "order_service", "orders", "flag = 'refund_failed'", "where id = '{id}'", "refund_failed"),
    (
        "confirmed",
        "payment_service",
        "payment_attempts",
        "ended_at = null, status = 'AWAITING', started_at = now() - interval '1 day',"
        " next_try_at = now() + interval '1 day'",
        _OF,
        "attempt_unanswered",
    ),
]


@contextmanager
def changed(databases: Databases, database: str, table: str, change: str, where: str) -> Iterator[None]:
    """The rows with that change, for a while."""
    columns = "json_agg(to_json(t))"
    before = databases.value(database, f"select {columns} from {table} t {where}")  # noqa: S608
    databases.query(database, f"update {table} set {change} {where}")  # noqa: S608
    try:
        yield
    finally:
        databases.query(database, f"delete from {table} {where}")  # noqa: S608
        back = f"insert into {table} overriding system value select * from json_populate_recordset(null::{table}, %s)"  # noqa: S608
        databases.query(database, back, json.dumps(before))


@pytest.mark.parametrize(("kind", "database", "table", "change", "where", "code"), UNSAFE)
def test_what_asks_for_a_decision_is_named(
    gateway: Gateway, databases: Databases, kind: str, database: str, table: str, change: str, where: str, code: str
) -> None:
    """Given damage of which nobody can say which side is right, then it is named, with what each says."""
    order_id = MAKE[kind](gateway)
    with changed(databases, database, table, change, where.format(id=order_id)):
        one = found(gateway, order_id, code)
        assert one["says"]
        assert one["runbook"] == f"docs/operations.md#{code.replace('_', '-')}"
        if not one["isSafe"]:
            wanted = {"code": code, "orderId": order_id, "quiet": 1}
            assert gateway.post("/admin/reconcile/repairs", wanted)[1]["repaired"] is False
    wait_until(lambda: not found_of(gateway, order_id), "nothing is found any more")


def test_a_book_that_differs_is_named(gateway: Gateway, databases: Databases) -> None:
    order_id = confirmed(gateway)
    charge = databases.value("payment_service", "select id::text from payment_attempts where order_id = %s", order_id)
    where = f"where key = '{charge}'"
    for change in ("status = 'DECLINED'", "amount = 19"):
        with changed(databases, "psp", "charges", change, where):
            one = found(gateway, order_id, "provider_differs")
            assert (one["subject"], one["isSafe"]) == (charge, False)
            assert one["says"]["attempt"] == "SUCCEEDED 20.00"


# Passes


def whole_pass(operator: OperatorClient, **wanted: Any) -> Pass:
    ended = run_pass(operator, quiet_s=1, **wanted)
    settle(operator, ended, quiet_s=1, patience_s=SETTLED_S)
    return ended


def test_a_pass_compares_only_what_changed(gateway: Gateway, operator: OperatorClient) -> None:
    """Given a pass over everything, then the next ones compare what changed since, each change once."""
    item = gateway.product(on_hand=20)
    for _ in range(3):
        gateway.ended(gateway.order(item), "CONFIRMED")
    full = whole_pass(operator, full=True)
    assert full.discrepancies == []
    assert full.checked["orders"] >= 3

    # Passes leave alone what is younger than a second: one that finds nothing may be too early.
    told_at_s = time.monotonic()
    caught_up = wait_until(
        lambda: _unchanged(operator, full) if time.monotonic() > told_at_s + 3 else None,
        "everything has been seen",
        timeout_s=SETTLED_S,
    )
    gateway.ended(gateway.order(item), "CONFIRMED")

    def seen() -> Pass | None:
        again = run_pass(operator, quiet_s=1, since=caught_up.watermark)
        return again if again.checked["items"] and again.checked["orders"] else None

    again = wait_until(seen, "the new order is seen", timeout_s=SETTLED_S)
    assert (again.discrepancies, again.checked["items"], again.checked["orders"]) == ([], 1, 1)


def test_what_the_order_was_not_told_is_found_by_what_changed_elsewhere(
    gateway: Gateway, operator: OperatorClient, databases: Databases
) -> None:
    """Given a refund of which the order never heard, then a pass finds it although nothing of the order changed."""
    order = gateway.ended(gateway.order(gateway.product(on_hand=9)), "CONFIRMED")
    before = whole_pass(operator, full=True)
    gateway.post(f"{payment_path(order)}/refund", {"amount": "1.00"})
    gateway.order_when(order["id"], lambda o: o["refunded"] == "1.00", "a part is refunded")
    unheard = """update orders set refunded = 0, updated_at = created_at where id = %s"""
    databases.query("order_service", unheard, order["id"])
    databases.query(
        "order_service", "delete from order_events where order_id = %s and event_type = 'PAYMENT_REFUNDED'", order["id"]
    )

    def is_found() -> dict[str, Any] | None:
        ended = run_pass(operator, quiet_s=1, since=before.watermark)
        return next((one for one in ended.discrepancies if one["orderId"] == order["id"]), None)

    one = wait_until(is_found, "it is found", timeout_s=SETTLED_S)
    assert one["code"] == "refund_unheard"
    repaired(gateway, one)


def _unchanged(operator: OperatorClient, latest: Pass) -> Pass | None:
    """A pass that found nothing to compare; each goes on from the last one."""
    again = run_pass(operator, quiet_s=1, since=latest.watermark)
    latest.watermark = again.watermark
    return None if any(again.checked.values()) else again


def test_small_pages_find_the_same(gateway: Gateway, operator: OperatorClient) -> None:
    item = gateway.product(on_hand=20)
    for _ in range(3):
        gateway.ended(gateway.order(item), "CONFIRMED")
    large, small = whole_pass(operator, full=True, limit=500), whole_pass(operator, full=True, limit=2)
    assert (large.checked, large.discrepancies) == (small.checked, small.discrepancies)


def test_stock_that_its_movements_do_not_explain_is_found(
    gateway: Gateway, operator: OperatorClient, databases: Databases
) -> None:
    """In a pass over what changed as soon as the item moves, and in a full one in any case."""
    item = gateway.product(on_hand=20)
    gateway.ended(gateway.order(item), "CONFIRMED")
    before = whole_pass(operator, full=True)
    databases.query("inventory_service", "update stock set on_hand = on_hand - 1 where item = %s", item)
    try:
        in_all = {(one["code"], one["subject"]): one for one in whole_pass(operator, full=True).discrepancies}
        assert in_all["stock_differs", item]["says"]["stock"] == "on hand 19, reserved 1"
        assert in_all["stock_differs", item]["says"]["movements"] == "on hand 20, reserved 1"
        gateway.ended(gateway.order(item), "CONFIRMED")

        def is_found() -> bool:
            ended = run_pass(operator, quiet_s=1, since=before.watermark)
            return ("stock_differs", item) in {(one["code"], one["subject"]) for one in ended.discrepancies}

        wait_until(is_found, "the item is found when it moves", timeout_s=SETTLED_S)
    finally:
        databases.query("inventory_service", "update stock set on_hand = on_hand + 1 where item = %s", item)


@pytest.mark.parametrize(
    "charge_key", ["zzz-not-ours", UNKNOWN], ids=["a key of another form", "a key like ours, but not known"]
)
def test_a_charge_that_nobody_knows_is_found(
    gateway: Gateway, operator: OperatorClient, databases: Databases, charge_key: str
) -> None:
    add = """insert into charges (key, reference, amount, currency, status, created_at)
             values (%s, 'psp_x', 5, 'EUR', 'APPROVED', now())"""
    databases.query("psp", add, charge_key)
    try:
        ended = whole_pass(operator, full=True)
        assert [(one["code"], one["subject"]) for one in ended.discrepancies] == [("unknown_charge", charge_key)]
    finally:
        databases.query("psp", "delete from charges where key = %s", charge_key)


def test_what_the_house_has_to_see_to_is_found(
    gateway: Gateway, operator: OperatorClient, databases: Databases, broker: Broker
) -> None:
    """An outbox that is not published, and dead letters."""
    stuck = """
        insert into outbox (event_id, event_type, aggregate_id, correlation_id, schema_version, payload, occurred_at,
                            parked_until)
        values (gen_random_uuid(), 'ORDER_CONFIRMED', 'x', 'x', 1, '{}', now() - interval '1 hour',
                now() + interval '1 hour')
    """
    databases.query("order_service", stuck)
    broker.publish("", DEAD, b"{}", None)
    try:

        def both() -> dict[str, Any] | None:
            by_code = {one["code"]: one for one in whole_pass(operator, ago_s=1).discrepancies}
            return by_code if {"outbox_stuck", "dead_letters"} <= set(by_code) else None

        by_code = wait_until(both, "both are found")
        assert by_code["outbox_stuck"]["command"] == "ordersaga logs order_relay"
        assert by_code["dead_letters"]["subject"] == DEAD.removesuffix(".dead")
    finally:
        databases.query("order_service", "delete from outbox where aggregate_id = 'x'")
        broker.purge_all()


def test_no_false_alarm_under_load(gateway: Gateway, operator: OperatorClient) -> None:
    """Given orders that are placed, declined, cancelled, shipped and returned all the while, then nothing is found."""
    item = gateway.product(on_hand=500)
    gateway.ended(gateway.order(item), "CONFIRMED")
    customers = [threading.Thread(target=_shop_about, args=(gateway, item, number)) for number in range(3)]
    for customer in customers:
        customer.start()
    passes = []
    while any(customer.is_alive() for customer in customers):
        passes.append(run_pass(operator, quiet_s=5, ago_s=120, limit=50))
    for customer in customers:
        customer.join()

    assert [one for ended in passes for one in ended.discrepancies] == []
    last = whole_pass(operator, ago_s=600)
    assert (last.discrepancies, last.unsettled) == ([], {})
    assert last.checked["orders"] >= 30


def _shop_about(gateway: Gateway, item: str, number: int) -> None:
    for turn in range(12):
        if turn % 4 == 0:
            gateway.order(item, paymentMethod="tok_card_declined")
            continue
        order_id = gateway.ended(gateway.order(item), "CONFIRMED")["id"]
        if turn % 4 == 1:
            gateway.post(f"/orders/{order_id}/cancel")
        elif turn % 4 == 2:
            gateway.post(f"/orders/{order_id}/fulfil")
            gateway.ended(order_id, "FULFILLED")
            gateway.post(f"/orders/{order_id}/returns", {"items": [{"item": item, "quantity": 1}]})


# Who may, and once only


def test_a_repair_is_done_once_and_recorded(gateway: Gateway, databases: Databases) -> None:
    """Given a repair that is asked for twice with one key, then the event is said once; who asked stands in the log."""
    order_id = cancelled(gateway)
    with databases.transaction("inventory_service") as cursor:
        cursor.execute(HELD_AGAIN, {"id": order_id})
        cursor.connection.commit()
    one = found(gateway, order_id, "stock_held_for_cancelled")
    wanted = {"code": one["code"], "orderId": order_id, "quiet": 1}
    same = key()

    first = gateway.call("POST", "/admin/reconcile/repairs", wanted, same)
    wait_until(lambda: not found_of(gateway, order_id), "it is repaired", timeout_s=SETTLED_S)
    second = gateway.call("POST", "/admin/reconcile/repairs", wanted, same)

    assert first[1] == second[1]
    assert second[2]["Idempotent-Replayed"] == "true"
    said = [e for e in gateway.get(f"/orders/{order_id}")["timeline"] if e["type"] == "ORDER_CANCELLED"]
    assert len(said) == 2
    entries = gateway.get(f"/admin/audit?objectId={order_id}&limit=20")["entries"]
    assert {"reconcile_repair", "repair_order"} <= {entry["action"] for entry in entries}
    assert {entry["actor"] for entry in entries if entry["action"] == "repair_order"} == {"operator"}


def test_the_command_repairs_and_tells(gateway: Gateway, databases: Databases, stack: Stack) -> None:
    """Given an order whose stock is held for nothing, then the command says so, asks, repairs, and says so."""
    order_id = cancelled(gateway)
    assert command(stack, "--order", order_id)[0] == 0
    with databases.transaction("inventory_service") as cursor:
        cursor.execute(HELD_AGAIN, {"id": order_id})
        cursor.connection.commit()

    exit_code, told = command(stack, "--order", order_id)
    assert (exit_code, [one["code"] for one in told["discrepancies"]]) == (DIFFERS, ["stock_held_for_cancelled"])
    shown = CliRunner().invoke(main, ["--stack", str(stack.folder), "reconcile", "--order", order_id, "--quiet", "1"])
    assert (shown.exit_code, "stock_held_for_cancelled" in shown.stdout) == (DIFFERS, True)
    unsure = CliRunner().invoke(
        main, ["--stack", str(stack.folder), "reconcile", "--order", order_id, "--quiet", "1", "--repair"]
    )
    assert (unsure.exit_code, "--yes" in unsure.output) == (1, True)
    exit_code, told = command(stack, "--order", order_id, "--repair", "--yes")
    assert (exit_code, [outcome["repaired"] for outcome in told["repairs"]]) == (0, [True])
    assert command(stack, "--since", "10m")[0] == 0


# The process


def test_the_reconciler_shows_what_differs_until_it_is_repaired(
    gateway: Gateway, databases: Databases, stack: Stack, tmp_path: Path
) -> None:
    """Given the reconciler beside a stack, then its figures count what differs, and end with it."""
    order_id = cancelled(gateway)
    with _reconciler(stack, tmp_path) as figure:
        wait_until(lambda: figure("ordersaga_reconcile_last_pass_timestamp_seconds"), "a pass", timeout_s=SETTLED_S)
        with databases.transaction("inventory_service") as cursor:
            cursor.execute(HELD_AGAIN, {"id": order_id})
            cursor.connection.commit()
        name = 'ordersaga_reconcile_discrepancies{code="stock_held_for_cancelled"}'
        wait_until(lambda: figure(name) == 1, "it is counted", timeout_s=SETTLED_S)
        repaired(gateway, found(gateway, order_id, "stock_held_for_cancelled"))
        wait_until(lambda: figure(name) == 0, "it is counted no longer", timeout_s=SETTLED_S)
        assert (figure("ordersaga_reconcile_orders_checked_total") or 0) >= 1
    assert json.loads((tmp_path / "state.json").read_text())["watermark"]


@contextmanager
def _reconciler(stack: Stack, folder: Path) -> Iterator[Any]:
    """A process of its own; name → its figure."""
    environment = stack.environment()
    port = free_port()
    settings = {
        "PATH": os.environ["PATH"],
        "GATEWAY_URL": environment["GATEWAY_URL"],
        "JWT_SIGNING_KEY_FILE": environment["JWT_SIGNING_KEY_FILE"],
        "RECONCILE_EVERY_S": "0.5",
        "RECONCILE_QUIET_S": "1",
        "RECONCILE_SHARE": "1",
        "RECONCILE_STATE_FILE": str(folder / "state.json"),
        "METRICS_PORT": str(port),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.reconciler"], env=settings, cwd=ROOT, stdout=log, stderr=log
        )
    try:
        yield lambda name: _figure(port, name)
    finally:
        process.terminate()
        assert process.wait(20) == 0, (folder / "log").read_text()


def _figure(port: int, name: str) -> float | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
    except OSError:
        return None
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), None)


ASKED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *(
        (f"{name}_service", method, arguments)
        for name in ("order", "inventory", "payment")
        for method, arguments in (
            ("reconcile_walk", {}),
            ("reconcile_sides", {"order_ids": [UNKNOWN]}),
            ("reconcile_backlog", {}),
            ("republish_event", {"order_id": UNKNOWN, "event_id": UNKNOWN}),
        )
    ),
    ("order_service", "unheard_orders", {"changes": {UNKNOWN: None}}),
    ("order_service", "say_order_again", {"order_id": UNKNOWN, "event_type": "ORDER_CANCELLED"}),
    ("inventory_service", "reconcile_stock", {}),
    ("inventory_service", "say_stock_again", {"order_id": UNKNOWN}),
    ("payment_service", "reconcile_book", {}),
    ("payment_service", "say_payment_again", {"order_id": UNKNOWN}),
    ("payment_service", "void_charge", {"order_id": UNKNOWN, "charge_key": UNKNOWN}),
    ("payment_service", "give_back", {"order_id": UNKNOWN}),
)


@pytest.mark.parametrize(("service", "method", "arguments"), ASKED)
def test_services_tell_their_side_to_operators_alone(
    gateway: Gateway, rpc: RpcClient, service: str, method: str, arguments: dict[str, Any]
) -> None:
    for stranger in (SELLER, CUSTOMER):
        with pytest.raises(Forbidden):
            rpc.call(service, method, caller=stranger, **arguments)


@pytest.mark.parametrize(
    ("service", "method", "arguments"),
    [
        ("order_service", "reconcile_sides", {"order_ids": "x"}),
        ("order_service", "reconcile_sides", {"order_ids": ["x"]}),
        ("order_service", "unheard_orders", {"changes": [UNKNOWN]}),
        ("order_service", "unheard_orders", {"changes": {UNKNOWN: "soon"}}),
        ("order_service", "reconcile_walk", {"limit": 0}),
        ("order_service", "reconcile_walk", {"quiet_s": "soon"}),
        ("order_service", "reconcile_walk", {"after": "x"}),
        ("order_service", "reconcile_walk", {"after": "7", "full": True}),
        ("order_service", "say_order_again", {"order_id": UNKNOWN, "event_type": "ORDER_CREATED"}),
        ("inventory_service", "reconcile_stock", {"after": "x"}),
        ("payment_service", "void_charge", {"order_id": UNKNOWN, "charge_key": "x"}),
    ],
)
def test_what_makes_no_sense_is_refused(
    gateway: Gateway, rpc: RpcClient, service: str, method: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest):
        rpc.call(service, method, caller=OPERATOR, **arguments)


def test_a_repair_that_is_not_true_of_its_order_is_refused(gateway: Gateway, rpc: RpcClient) -> None:
    """Whatever the gateway believes, the service looks at its own row."""
    order_id = confirmed(gateway)
    charge = gateway.payment(gateway.get(f"/orders/{order_id}"))["attempts"][0]["id"]
    ask: dict[str, Any] = {"caller": OPERATOR, "order_id": order_id}
    for event_type in ("ORDER_CANCELLED", "ORDER_RETURNED", "ORDER_FULFILLED"):
        with pytest.raises(Conflict):
            rpc.call("order_service", "say_order_again", event_type=event_type, **ask)
    with pytest.raises(Conflict):
        rpc.call("payment_service", "void_charge", charge_key=charge, **ask)
    with pytest.raises(PaymentNotFound):
        rpc.call("payment_service", "void_charge", **ask | {"order_id": UNKNOWN}, charge_key=charge)
    with pytest.raises(ReservationNotFound):
        rpc.call("inventory_service", "say_stock_again", **ask | {"order_id": UNKNOWN})
    assert rpc.call("payment_service", "republish_event", event_id=UNKNOWN, **ask)["did"] is None
