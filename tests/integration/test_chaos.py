"""Trouble made on purpose: it bites, it ends by itself or by hand, it is written down, and every order ends whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from harness.broker import Broker
from harness.databases import SERVICES, Databases
from harness.people import CUSTOMER, OPERATOR, SELLER
from harness.processes import Processes, ServiceProcess
from harness.shop import Shop
from harness.waiting import wait_until
from harness.whole import assert_whole

from gateway.rpc import RpcClient
from ops.management import ManagementApi
from shared.errors import ChaosDisabled, Forbidden, InvalidRequest
from shared.identity import Identity

pytestmark = pytest.mark.integration

SETTINGS = {"CHAOS_ENABLED": "on", "PSP_CALL_TIMEOUT_S": "1", "PSP_LIMIT_S": "5"}
QUEUE = "inventory_service.ORDER_CREATED"
LONG_S = 600.0
ENDED_WITHIN_S = 150.0
Set = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def _saga(processes: Processes, relay_settings: Mapping[str, str]) -> None:
    for service in SERVICES:
        processes.start_ready(service, **SETTINGS)
        processes.start_ready(service, "relay", **SETTINGS, **relay_settings)


@pytest.fixture(autouse=True)
def _whole_afterwards(rpc: RpcClient, shop: Shop, databases: Databases, broker: Broker) -> Iterator[None]:
    yield
    for service in SERVICES:
        rpc.call(service, "clear_chaos", caller=OPERATOR)
    shop.wait_until_all_ended(timeout_s=ENDED_WITHIN_S)
    assert_whole(databases, broker)


@pytest.fixture
def set_chaos(rpc: RpcClient) -> Set:
    """Switches one on and waits until the service itself says that it is."""

    def set_(kind: str, target: str, amount: float | None = 1.0, *, duration_s: float = LONG_S) -> dict[str, Any]:
        wanted = {"kind": kind, "target": target, "note": "a test", "durationS": duration_s}
        service = "payment_service" if target == "psp" else target.partition(".")[0]
        said = {**wanted, "amount": amount} if amount else wanted
        switch: dict[str, Any] = rpc.call(service, "set_chaos", caller=OPERATOR, switch=said)
        wait_until(lambda: kind in marks(rpc, service), f"{kind} is in hand")
        return {"service": service, **switch}

    return set_


def marks(rpc: RpcClient, service: str) -> list[str]:
    return [mark["kind"] for mark in rpc.call(service, "health").get("chaos", ())]


def end(rpc: RpcClient, switch: Mapping[str, Any]) -> None:
    rpc.call(switch["service"], "clear_chaos", caller=OPERATOR, switch_id=switch["id"])


def only(processes: Processes, service: str, command: str = "serve") -> ServiceProcess:
    return processes.of(service, command)[-1]


def acted(process: ServiceProcess, kind: str) -> bool:
    return any('"chaos_acted"' in line and f'"{kind}"' in line for line in process.output().splitlines())


def test_set_and_ended_by_hand(rpc: RpcClient, set_chaos: Set) -> None:
    """Given a switch, then it is on the list, in health and in the audit log; ended by hand, it is gone from both."""
    switch = set_chaos("consumer_delay", QUEUE, 1)
    [listed] = rpc.call("inventory_service", "list_chaos", caller=OPERATOR)
    assert {**listed, "remainingS": 0, "service": "inventory_service"} == {**switch, "remainingS": 0}
    assert 0 < listed["remainingS"] <= LONG_S
    health = rpc.call("inventory_service", "health")
    assert health["chaos"] == [{"kind": "consumer_delay", "target": QUEUE, "until": switch["until"]}]
    assert health["database"] == "up"

    end(rpc, switch)
    wait_until(lambda: marks(rpc, "inventory_service") == [], "health says nothing of it")
    assert "chaos" not in rpc.call("inventory_service", "health")
    assert rpc.call("inventory_service", "list_chaos", caller=OPERATOR) == []
    entries = rpc.call("inventory_service", "list_audit", caller=OPERATOR, object_id=switch["id"])["entries"]
    assert [(e["action"], e["actor"]) for e in entries] == [("clear_chaos", "root"), ("set_chaos", "root")]
    assert (entries[1]["after"]["note"], entries[1]["after"]["until"]) == ("a test", switch["until"])
    assert entries[0]["before"]["kind"] == "consumer_delay"


def test_the_same_trouble_is_one_switch(rpc: RpcClient, set_chaos: Set) -> None:
    set_chaos("consumer_delay", QUEUE, 1)
    set_chaos("consumer_delay", QUEUE, 2)
    assert [s["amount"] for s in rpc.call("inventory_service", "list_chaos", caller=OPERATOR)] == [2]


def test_ends_by_itself(rpc: RpcClient, set_chaos: Set, databases: Databases) -> None:
    """Given a short one, then at its end it is off everywhere, and nobody did it."""
    switch = set_chaos("consumer_duplicate", "order_service", duration_s=10)
    wait_until(lambda: marks(rpc, "order_service") == [], "it is off")
    assert rpc.call("order_service", "list_chaos", caller=OPERATOR) == []
    over = "select until <= clock_timestamp() from chaos_switches where id = %s"
    assert databases.value("order_service", over, switch["id"])
    entries = rpc.call("order_service", "list_audit", caller=OPERATOR, object_id=switch["id"])["entries"]
    assert [entry["action"] for entry in entries] == ["set_chaos"]


def test_until_is_taken_as_it_is(rpc: RpcClient) -> None:
    until = datetime.now(UTC) + timedelta(minutes=2)
    wanted = {"kind": "relay_pause", "target": "payment_service", "note": "x", "until": until.isoformat()}
    switch = rpc.call("payment_service", "set_chaos", caller=OPERATOR, switch=wanted)
    assert datetime.fromisoformat(switch["until"]) == until


class TestConsumers:
    def test_duplicates_are_absorbed(
        self, shop: Shop, set_chaos: Set, processes: Processes, stack_environment: Mapping[str, str]
    ) -> None:
        """Given each event of a queue once more, then more comes out of it than orders, and stock is held once."""
        item = shop.product(on_hand=10)
        before = deliveries(stack_environment, QUEUE)
        set_chaos("consumer_duplicate", QUEUE)
        for _ in range(3):
            shop.wait_for(shop.place(item), "CONFIRMED")
        assert acted(only(processes, "inventory_service"), "consumer_duplicate")
        wait_until(lambda: deliveries(stack_environment, QUEUE) >= before + 6, "six were delivered")
        assert shop.stock(item) == (10, 3)

    def test_what_is_not_acknowledged_comes_once_more(
        self, shop: Shop, set_chaos: Set, processes: Processes, stack_environment: Mapping[str, str]
    ) -> None:
        item = shop.product(on_hand=10)
        before = deliveries(stack_environment, QUEUE, "redeliver")
        set_chaos("consumer_drop_ack", "inventory_service")
        shop.wait_for(shop.place(item), "CONFIRMED")
        wait_until(lambda: acted(only(processes, "inventory_service"), "consumer_drop_ack"), "it dropped one")
        wait_until(lambda: deliveries(stack_environment, QUEUE, "redeliver") > before, "it was delivered again")
        assert shop.stock(item) == (10, 1)

    @pytest.mark.parametrize(("kind", "is_saved"), [("consumer_crash_before", False), ("consumer_crash_after", True)])
    def test_a_crash(
        self, shop: Shop, set_chaos: Set, processes: Processes, databases: Databases, kind: str, is_saved: bool
    ) -> None:
        """Given a process that dies with an event in hand, then its effect is there or not; its successor ends it."""
        item, process = shop.product(on_hand=10), only(processes, "inventory_service")
        set_chaos(kind, QUEUE)
        order_id = shop.place(item)
        wait_until(lambda: not process.is_alive, "the process dies")
        held = "select count(*) from reservations where order_id = %s"
        assert databases.value("inventory_service", held, order_id) == int(is_saved)
        process.start()
        process.wait_ready()
        shop.wait_for(order_id, "CONFIRMED")
        assert shop.stock(item) == (10, 1)

    def test_an_error_is_tried_again(self, rpc: RpcClient, shop: Shop, set_chaos: Set, processes: Processes) -> None:
        item, process = shop.product(), only(processes, "inventory_service")
        switch = set_chaos("consumer_error", QUEUE)
        order_id = shop.place(item)
        wait_until(lambda: '"event_retried"' in process.output() and "ChaosError" in process.output(), "it is retried")
        assert shop.status(order_id)[0] == "PENDING"
        end(rpc, switch)
        shop.wait_for(order_id, "CONFIRMED")

    def test_a_refused_event_is_a_dead_letter_that_can_be_redriven(
        self, rpc: RpcClient, shop: Shop, set_chaos: Set, broker: Broker
    ) -> None:
        item = shop.product()
        switch = set_chaos("consumer_refusal", QUEUE)
        order_id = shop.place(item)
        wait_until(lambda: broker.depth(f"{QUEUE}.dead") == 1, "it is dead")
        end(rpc, switch)
        wait_until(lambda: marks(rpc, "inventory_service") == [], "it is off")
        [letter] = broker.dead(QUEUE)
        assert letter.headers["x-error-code"] == "chaos_refusal"
        broker.publish("", QUEUE, letter.body, letter.properties)
        shop.wait_for(order_id, "CONFIRMED")

    def test_a_delay_lasts_no_longer_than_its_switch(
        self, rpc: RpcClient, shop: Shop, set_chaos: Set, processes: Processes
    ) -> None:
        """Given a minute for each batch, then an order stands still, until the switch is off."""
        item, process = shop.product(), only(processes, "inventory_service")
        switch = set_chaos("consumer_delay", QUEUE, 60_000)
        order_id = shop.place(item)
        wait_until(lambda: acted(process, "consumer_delay"), "it waits")
        assert shop.status(order_id)[0] == "PENDING"
        end(rpc, switch)
        shop.wait_for(order_id, "CONFIRMED")


class TestRelay:
    def test_a_paused_one_sends_nothing_and_keeps_its_place(
        self,
        shop: Shop,
        set_chaos: Set,
        processes: Processes,
        databases: Databases,
        relay_settings: Mapping[str, str],
    ) -> None:
        """Given a pause, then the outbox stays as it is although a standby is there; at its end it drains by itself."""
        relay, item = only(processes, "order_service", "relay"), shop.product()
        standby = processes.start("order_service", "relay", **SETTINGS, **relay_settings)
        stands_by = "select count(*) from pg_stat_activity where query like 'select pg_try_advisory_lock%%'"
        wait_until(lambda: databases.value("order_service", stands_by), "the standby stands by")
        set_chaos("relay_pause", "order_service", None, duration_s=15)
        wait_until(lambda: '"relay_paused"' in relay.output(), "the relay pauses")
        order_id = shop.place(item)
        wait_until(lambda: '"relay_resumed"' in relay.output(), "the relay goes on")
        waited = "select published_at >= s.until from outbox, chaos_switches s where aggregate_id = %s limit 1"
        wait_until(lambda: databases.value("order_service", waited, order_id), "it was sent after the pause's end")
        shop.wait_for(order_id, "CONFIRMED")
        assert '"relay_active"' not in standby.output()
        standby.kill()


class TestProvider:
    @pytest.mark.parametrize("kind", ["psp_failure", "psp_lost_answer", "psp_timeout"])
    def test_calls_without_an_outcome(
        self, rpc: RpcClient, shop: Shop, set_chaos: Set, databases: Databases, kind: str
    ) -> None:
        """Given a provider that fails so, then nobody knows whether it was paid; afterwards it was, once or never."""
        item = shop.product()
        switch = set_chaos(kind, "psp")
        order_id = shop.place(item)
        unknown = "select count(*) from payment_attempts where order_id = %s and status = 'UNKNOWN'"
        wait_until(lambda: databases.value("payment_service", unknown, order_id), "the outcome is unknown")
        end(rpc, switch)
        ended = "select status in ('CONFIRMED', 'CANCELLED') from orders where id = %s"
        wait_until(lambda: databases.value("order_service", ended, order_id), "it ends", timeout_s=ENDED_WITHIN_S)

    def test_declined_and_slow(self, rpc: RpcClient, shop: Shop, set_chaos: Set) -> None:
        item = shop.product()
        declined = set_chaos("psp_decline", "psp")
        slow = set_chaos("psp_latency", "psp", 300)
        assert marks(rpc, "payment_service") == ["psp_decline", "psp_latency"]
        shop.wait_for(shop.place(item), "CANCELLED", "payment_failed")
        end(rpc, declined)
        end(rpc, slow)
        wait_until(lambda: marks(rpc, "payment_service") == [], "it is off")
        shop.wait_for(shop.place(item), "CONFIRMED")


class TestRefusals:
    GOOD: Mapping[str, Any] = {"kind": "consumer_delay", "target": QUEUE, "amount": 1, "note": "a test"}

    @pytest.mark.parametrize("caller", [CUSTOMER, SELLER])
    def test_is_for_operators(self, rpc: RpcClient, caller: Identity) -> None:
        for method, arguments in (("list_chaos", {}), ("set_chaos", {"switch": self.GOOD}), ("clear_chaos", {})):
            with pytest.raises(Forbidden):
                rpc.call("inventory_service", method, caller=caller, **arguments)

    def test_another_services_queue_is_no_target(self, rpc: RpcClient) -> None:
        with pytest.raises(InvalidRequest) as refused:
            rpc.call("order_service", "set_chaos", caller=OPERATOR, switch=self.GOOD)
        assert list(refused.value.details["errors"]) == ["target"]
        assert rpc.call("order_service", "list_chaos", caller=OPERATOR) == []

    def test_an_end_that_is_over_or_too_far_away(self, rpc: RpcClient) -> None:
        for hours in (-1, 25):
            until = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
            with pytest.raises(InvalidRequest) as refused:
                rpc.call("inventory_service", "set_chaos", caller=OPERATOR, switch={**self.GOOD, "until": until})
            assert list(refused.value.details["errors"]) == ["until"]


def deliveries(environment: Mapping[str, str], queue: str, how: str = "deliver") -> int:
    """How often the broker has delivered from ``queue``; its figures come some seconds late."""
    found = ManagementApi(environment["ADMIN_MANAGEMENT_URL"]).request("GET", f"/api/queues/%2F/{queue}")
    return int(found.get("message_stats", {}).get(how, 0))


def test_where_it_is_disabled_nothing_can_be_switched_on_and_nothing_is_heeded(
    processes: Processes, rpc: RpcClient, databases: Databases, broker: Broker
) -> None:
    """Given a payment service as in production, then a switch is refused, and one set by somebody else does nothing."""
    only(processes, "payment_service").terminate()
    strict = processes.start_ready("payment_service")
    try:
        wanted = {"kind": "psp_failure", "target": "psp", "amount": 1, "note": "x"}
        with pytest.raises(ChaosDisabled):
            rpc.call("payment_service", "set_chaos", caller=OPERATOR, switch=wanted)
        with pytest.raises(ChaosDisabled):
            rpc.call("payment_service", "change_provider_behaviour", caller=OPERATOR, changes={"latency_ms": 1})
        by_hand = "insert into chaos_switches values (%s, 'psp_failure', 'psp', 1, '', 'x', now(), now() + '1 hour')"
        databases.query("payment_service", by_hand, str(uuid4()))
        assert "chaos" not in rpc.call("payment_service", "health")
        assert len(rpc.call("payment_service", "clear_chaos", caller=OPERATOR)) == 1
    finally:
        strict.terminate()
        processes.start_ready("payment_service", **SETTINGS)
