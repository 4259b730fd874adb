"""An operator's day: trouble comes from several sides, is seen, understood, undone step by step, and accounted for.

One story, told through the `ordersaga` command, on the stack as people start it. Each part is what the part before it
has left behind.
"""

from __future__ import annotations

import json
import shlex
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from harness.command import Command
from harness.gateway import Gateway
from harness.waiting import wait_until

from ops.reconcile import DIFFERS
from ops.stack import Stack

pytestmark = pytest.mark.e2e

# An unanswered order asks for an operator soon; a charge is tried for as long as the day takes.
SETTINGS = {"PENDING_DEADLINE_S": "6", "ON_DEADLINE": "flag", "PSP_LIMIT_S": "600", "RECONCILE_QUIET_S": "1"}
QUEUE = "inventory_service.ORDER_CREATED"
REFUSED, UNCHARGED, HELD_BACK = 5, 2, 2
ENDED_WITHIN_S = 120.0
LONG = ("--for", "2h")


@pytest.fixture
def ordersaga(gateway: Gateway, stack: Stack) -> Command:
    return Command(stack)


@pytest.fixture(autouse=True)
def _all_off(ordersaga: Command, _whole_afterwards: None) -> Iterator[None]:
    yield
    ordersaga("chaos", "off", "--all")


def test_an_operators_day(gateway: Gateway, stack: Stack, ordersaga: Command) -> None:
    item, morning = gateway.product(on_hand=100), datetime.now(UTC).isoformat()
    good = gateway.ended(gateway.order(item), "CONFIRMED")["id"]

    uncharged = the_provider_fails(gateway, stack, ordersaga, item)
    refused = a_consumer_refuses(gateway, stack, ordersaga, item)
    held_back = a_relay_pauses(gateway, stack, ordersaga, item)
    the_board_shows_whose_turn_it_is(ordersaga, refused, [*uncharged, *held_back])
    letters = the_dead_letters_say_why(stack, ordersaga, refused)
    the_provider_is_well_again(gateway, stack, ordersaga, uncharged)
    reconciling_says_so_too(ordersaga, refused, letters)

    stopped = sent_back_too_early_they_fail_again(ordersaga, letters)
    the_trouble_is_ended(gateway, stack, ordersaga, held_back)
    a_dry_run_changes_nothing(gateway, ordersaga, item, letters)
    runs = they_are_sent_back_in_ramps(ordersaga, stopped, letters)

    all_is_whole(gateway, ordersaga, item, [good, *uncharged, *refused, *held_back])
    the_audit_log_shows_who_did_what(ordersaga, runs, morning)
    the_logs_tell_of_one_order(ordersaga, refused[0])


def the_provider_fails(gateway: Gateway, stack: Stack, ordersaga: Command, item: str) -> list[str]:
    """When the provider fails and an event comes twice, then orders are reserved and wait for the payment."""
    switched_on(stack, ordersaga, "psp_failure", "psp", "payment_service", "--amount", "1")
    twice = "payment_service.INVENTORY_RESERVED"
    switched_on(stack, ordersaga, "consumer_duplicate", twice, "payment_service", "--amount", "1")
    orders = [gateway.order(item) for _ in range(UNCHARGED)]
    for order in orders:
        wait_until(lambda order=order: of_board(ordersaga, order)["step"] == "payment", "it waits for its payment")
    duplicates = 'ordersaga_inbox_duplicates_total{event="INVENTORY_RESERVED"}'
    wait_until(lambda: figure(stack, "payment_service", duplicates) >= UNCHARGED, "the second ones are counted")
    return orders


def a_consumer_refuses(gateway: Gateway, stack: Stack, ordersaga: Command, item: str) -> list[str]:
    """When inventory refuses new orders, then they are accepted all the same, and soon ask for an operator."""
    switched_on(stack, ordersaga, "consumer_refusal", QUEUE, "inventory_service", "--amount", "1")
    orders = [gateway.order(item) for _ in range(REFUSED)]
    for order in orders:
        wait_until(lambda order=order: of_board(ordersaga, order)["flag"], "it asks for an operator")
    return orders


def a_relay_pauses(gateway: Gateway, stack: Stack, ordersaga: Command, item: str) -> list[str]:
    """When a relay pauses, then orders are accepted and nobody hears of them."""
    switched_on(stack, ordersaga, "relay_pause", "order_service", "order_relay")
    orders = [gateway.order(item) for _ in range(HELD_BACK)]
    for order in orders:
        told = ordersaga("saga", order)
        assert {event["source"] for event in told["timeline"]} == {"order_service"}
        assert told["expected"][0]["who"] == "inventory"
    return orders


def the_board_shows_whose_turn_it_is(ordersaga: Command, refused: list[str], waiting: list[str]) -> None:
    """Stuck are those of which inventory does not know; the others only wait, each for somebody."""
    stuck = {saga["orderId"]: saga for saga in ordersaga("sagas", "--state", "stuck", "--all")["sagas"]}
    assert set(refused) <= set(stuck)
    assert {(stuck[order]["flag"], stuck[order]["waitsFor"]) for order in refused} == {("pending_overdue", "inventory")}
    running = {saga["orderId"]: saga["waitsFor"] for saga in ordersaga("sagas", "--state", "running")["sagas"]}
    assert [running[order] for order in waiting] == ["payment"] * UNCHARGED + ["inventory"] * HELD_BACK
    at_payment = ordersaga("sagas", "--waits-for", "payment", "--status", "RESERVED")["sagas"]
    assert {saga["orderId"] for saga in at_payment} == set(waiting[:UNCHARGED])
    on = {(switch["kind"], switch["target"]) for switch in ordersaga("chaos", "status")["switches"]}
    assert on == {
        ("psp_failure", "psp"),
        ("consumer_duplicate", "payment_service.INVENTORY_RESERVED"),
        ("consumer_refusal", QUEUE),
        ("relay_pause", "order_service"),
    }


def the_dead_letters_say_why(stack: Stack, ordersaga: Command, refused: list[str]) -> list[dict[str, Any]]:
    """Each stuck order has one, or two: while it waited, its event was published once more."""
    [group] = ordersaga("dead-letters", "list")["groups"]
    assert (group["consumer"], group["event"], group["reason"]) == (
        "inventory_service",
        "ORDER_CREATED",
        "chaos_refusal",
    )
    letters: list[dict[str, Any]] = ordersaga("dead-letters", "show", "--limit", "100")["letters"]
    assert {json.loads(letter["body"])["id"] for letter in letters} == set(refused)
    assert group["count"] == len(letters)
    of_one = ordersaga("dead-letters", "show", refused[0])["letters"]
    assert {(letter["queue"], letter["originQueue"], letter["reason"]) for letter in of_one} == {
        (QUEUE, QUEUE, "chaos_refusal")
    }
    dead = 'ordersaga_events_dead_lettered_total{code="chaos_refusal",event="ORDER_CREATED"}'
    assert figure(stack, "inventory_service", dead) == len(letters)
    return letters


def the_provider_is_well_again(gateway: Gateway, stack: Stack, ordersaga: Command, uncharged: list[str]) -> None:
    """When one of the switches goes off, then what only waited for it goes on by itself."""
    switched_off(stack, ordersaga, "psp_failure", "payment_service")
    for order in uncharged:
        gateway.order_when(order, lambda found: found["status"] == "CONFIRMED", "it goes on by itself")


def reconciling_says_so_too(ordersaga: Command, refused: list[str], letters: list[dict[str, Any]]) -> None:
    """What differs is named, with the command that shows more of it."""
    told = ordersaga("reconcile", "--quiet", "1", exit_code=DIFFERS)
    unended = {one["orderId"] for one in told["discrepancies"] if one["code"] == "order_unended"}
    assert set(refused) <= unended
    [dead] = [one for one in told["discrepancies"] if one["code"] == "dead_letters"]
    _, *words = shlex.split(dead["command"])
    assert len(ordersaga(*words, "--limit", "100")["letters"]) == len(letters)


def sent_back_too_early_they_fail_again(ordersaga: Command, letters: list[dict[str, Any]]) -> str:
    """When they are sent back while the cause is there, then one is tried, and all others stay where they are."""
    run = ordersaga("dead-letters", "redrive", "--error", "chaos_refusal", "--yes", exit_code=1)
    assert (run["state"], run["reason"], run["total"]) == ("STOPPED", "failed_again", len(letters))
    assert (run["letters"]["failedAgain"], run["letters"]["selected"]) == (1, len(letters) - 1)
    assert ordersaga("dead-letters", "list")["groups"][0]["count"] == len(letters)
    return str(run["id"])


def the_trouble_is_ended(gateway: Gateway, stack: Stack, ordersaga: Command, held_back: list[str]) -> None:
    """When all of it ends, the cause of the dead letters first, then nobody is held back; the dead letters stay."""
    switched_off(stack, ordersaga, "consumer_refusal", "inventory_service")
    assert len(ordersaga("chaos", "off", "--all")["switches"]) == 2
    assert ordersaga("chaos", "status")["switches"] == []
    for order in held_back:
        gateway.order_when(order, lambda found: found["status"] == "CONFIRMED", "it goes on by itself")


def a_dry_run_changes_nothing(gateway: Gateway, ordersaga: Command, item: str, letters: list[dict[str, Any]]) -> None:
    """Each of them would be applied, and it is said how."""
    before = gateway.stock(item)
    told = ordersaga("dead-letters", "redrive", "--dry-run")["letters"]
    assert {(one["verdict"], one["decision"], tuple(one["events"])) for one in told} == {
        ("will_apply", "stock OPEN → HELD", ("INVENTORY_RESERVED",))
    }
    assert len(told) == len(letters)
    assert ordersaga("dead-letters", "list")["groups"][0]["count"] == len(letters)
    assert gateway.stock(item) == before


def they_are_sent_back_in_ramps(ordersaga: Command, stopped: str, letters: list[dict[str, Any]]) -> list[str]:
    """When the first run is taken up and a second one takes what failed in it, then each letter is applied."""
    resumed = ordersaga("dead-letters", "redrive", "--resume", stopped)
    assert (resumed["id"], resumed["state"], resumed["letters"]["applied"]) == (stopped, "DONE", len(letters) - 1)
    again = ordersaga("dead-letters", "redrive", "--yes")
    assert (again["state"], again["total"], again["letters"]["applied"]) == ("DONE", 1, 1)
    assert ordersaga("dead-letters", "list")["groups"] == []
    runs = ordersaga("dead-letters", "runs")["redrives"]
    assert [(run["id"], run["state"]) for run in runs] == [(again["id"], "DONE"), (stopped, "DONE")]
    return [stopped, again["id"]]


def all_is_whole(gateway: Gateway, ordersaga: Command, item: str, orders: list[str]) -> None:
    """Every order of the day has ended as if nothing had been, and nobody's books differ."""
    for order in orders:
        gateway.order_when(order, lambda found: found["status"] == "CONFIRMED", "it is confirmed")
    assert gateway.stock(item) == (100, len(orders))
    assert ordersaga("sagas", "--state", "stuck")["sagas"] == []
    told = ordersaga("reconcile", "--full", "--quiet", "1")
    assert (told["discrepancies"], told["unsettled"], told["checked"]["orders"]) == ([], [], len(orders))


def the_audit_log_shows_who_did_what(ordersaga: Command, runs: list[str], morning: str) -> None:
    """Trouble and its end, with why; each run from beginning to end, with what it sent."""
    day = ("audit", "--actor", "operator", "--since", morning)
    trouble = ordersaga(*day, "--action", "set_chaos")["entries"]
    assert {entry["after"]["note"] for entry in trouble} == {"rehearsal"}
    assert len(trouble) == len(ordersaga(*day, "--action", "clear_chaos")["entries"]) == 4
    first, second = (list(reversed(ordersaga("audit", "--object", run)["entries"])) for run in runs)
    assert [entry["action"] for entry in first[:4]] == [
        "create_redrive",
        "redrive_batch",
        "stop_redrive",
        "resume_redrive",
    ]
    sent = [entry["after"]["sent"] for entry in first if entry["action"] == "redrive_batch"]
    assert sent[:3] == [1, 1, 2]
    assert first[-1]["action"] == "finish_redrive"
    assert [entry["action"] for entry in second] == ["create_redrive", "redrive_batch", "finish_redrive"]
    assert {entry["actor"] for entry in (*first, *second)} == {"operator"}


def the_logs_tell_of_one_order(ordersaga: Command, order: str) -> None:
    """From its request through what went wrong to its end, as one story."""
    told = [(line["process"], line["event"]) for line in ordersaga.lines("logs", "--order", order)]
    story = [
        ("order_service", "orders_placed"),
        ("order_relay", "events_published"),
        ("inventory_service", "event_dead_lettered"),
        ("inventory_service", "events_applied"),
        ("payment_service", "events_applied"),
        ("order_service", "events_applied"),
    ]
    rest = iter(told)
    assert all(step in rest for step in story), told


def switched_on(stack: Stack, ordersaga: Command, kind: str, target: str, process: str, *amount: str) -> None:
    """Also in the process that carries it out."""
    switch = ordersaga("chaos", "on", kind, "--target", target, *amount, *LONG, "--note", "rehearsal")
    assert (switch["kind"], switch["target"], switch["setBy"]) == (kind, target, "operator")
    active = f'ordersaga_chaos_active{{kind="{kind}",target="{target}"}}'
    wait_until(lambda: figure(stack, process, active), f"{process} has {kind} in hand")


def switched_off(stack: Stack, ordersaga: Command, kind: str, process: str) -> None:
    """Also in the process that carries it out."""
    [switch] = [switch for switch in ordersaga("chaos", "status")["switches"] if switch["kind"] == kind]
    assert ordersaga("chaos", "off", switch["id"])["switches"][0]["id"] == switch["id"]
    active = f'ordersaga_chaos_active{{kind="{kind}"'
    wait_until(lambda: not figures(stack, process, active), f"{process} has no {kind} in hand any more")


def of_board(ordersaga: Command, order: str) -> Mapping[str, Any]:
    [saga] = ordersaga("sagas", "--text", order)["sagas"]
    return dict(saga)


def figure(stack: Stack, process: str, name: str) -> float:
    return figures(stack, process, name).get(name, 0.0)


def figures(stack: Stack, process: str, beginning: str) -> dict[str, float]:
    """Of a process, those whose names with labels begin so."""
    url = f"http://{stack.metrics_address(process)}/metrics"
    with urllib.request.urlopen(url, timeout=10) as response:
        lines = response.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line.startswith(beginning))
    return {name: float(value) for name, _, value in pairs}
