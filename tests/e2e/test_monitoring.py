"""A real Prometheus on the whole stack: everything is scraped, and the main alerts fire when something is wrong."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from harness.broker import Broker
from harness.freezing import frozen_database
from harness.gateway import Gateway
from harness.monitoring import ALERT_TIMEOUT_S, Monitor
from harness.waiting import wait_until

from ops.prometheus import CONFIGURATION, find_binary
from ops.scenarios.freezing import frozen
from ops.stack import Stack

pytestmark = pytest.mark.e2e

SERVICES = ("order_service", "inventory_service", "payment_service")
RELAYS = ("order_relay", "inventory_relay", "payment_relay")
CHARGES_THAT_FAIL = 30


@pytest.fixture(scope="module")
def monitor(gateway: Gateway, stack: Stack) -> Iterator[Monitor]:
    """Installs Debian's Prometheus where it is missing."""
    stack.up(monitoring=True)
    monitor = Monitor(stack)
    monitor.hurry()
    yield monitor
    stack.up(monitoring=False)


@pytest.fixture
def provider_behaves(gateway: Gateway) -> Iterator[Callable[..., None]]:
    """Through the payment service, which else would hear of it up to a second later."""

    def change(**behaviour: float) -> None:
        assert gateway.call("PATCH", "/admin/chaos", behaviour)[0] == 200

    yield change
    wait_until(lambda: gateway.call("DELETE", "/admin/chaos")[0] == 200, "it behaves as usual")


def probe(stack: Stack, process: str, kind: str) -> tuple[int, Mapping[str, Any]]:
    url = f"http://{stack.metrics_address(process)}/health/{kind}"
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


class TestFigures:
    def test_every_process_is_scraped(self, monitor: Monitor) -> None:
        expected = {*SERVICES, *RELAYS, "psp", "gateway", "reconciler", "rabbitmq"}
        wait_until(lambda: monitor.scraped() == expected, "all of them are up")

    def test_an_order_is_seen_from_request_to_confirmation(self, gateway: Gateway, monitor: Monitor) -> None:
        """Given a paid order and one that is declined, then each part tells of them."""
        item = gateway.product(on_hand=5)
        gateway.ended(gateway.order(item), "CONFIRMED")
        gateway.ended(gateway.order(item, paymentMethod="tok_insufficient_funds"), "CANCELLED")

        for query in (
            'ordersaga_orders_reached_status_total{process="order_service", status="CONFIRMED"}',
            'ordersaga_orders_reached_status_total{status="CANCELLED", reason="payment_failed"}',
            'ordersaga_saga_seconds_count{outcome="confirmed"}',
            'ordersaga_saga_seconds_count{outcome="cancelled"}',
            'ordersaga_events_applied_total{process="inventory_service", event="ORDER_CREATED"}',
            'ordersaga_event_batch_seconds_count{process="payment_service", event="INVENTORY_RESERVED"}',
            'ordersaga_reservations_total{outcome="reserved"}',
            'ordersaga_reservations_total{outcome="released"}',
            'payment_attempt_latency_seconds_count{kind="CHARGE", outcome="approved"}',
            'payment_attempt_latency_seconds_count{kind="CHARGE", outcome="declined"}',
            'payment_failure_rate{process="payment_service"}',
            'ordersaga_relay_events_published_total{process="order_relay"}',
            'ordersaga_relay_lag_seconds_count{process="payment_relay"}',
            'ordersaga_rpc_requests_total{process="order_service", method="place_orders", outcome="answered"}',
            'ordersaga_timer_run_seconds_count{timer="watch_deadlines"}',
            'ordersaga_stock_units{state="on_hand"}',
            'psp_http_requests_total or ordersaga_psp_circuit_state{state="closed"}',
        ):
            wait_until(lambda query=query: monitor.value(query), query)


class TestHealth:
    @pytest.mark.parametrize("process", [*SERVICES, *RELAYS, "psp"])
    def test_is_said_by_each_process(self, monitor: Monitor, stack: Stack, process: str) -> None:
        assert probe(stack, process, "live")[0] == 200
        status, report = wait_until(lambda: _ready(stack, process), "it is ready")
        assert (status, report["status"], report["database"]) == (200, "ready", "up")

    def test_without_its_database_a_service_lives_and_is_not_ready(self, monitor: Monitor, stack: Stack) -> None:
        with frozen_database(stack):
            _, report = wait_until(lambda: _not_ready(stack, "order_service"), "it is not ready")
            assert (report["database"], report["broker"]) == ("down", "up")
            assert probe(stack, "order_service", "live")[0] == 200
        wait_until(lambda: _ready(stack, "order_service"), "it is ready again")


def _ready(stack: Stack, process: str) -> tuple[int, Mapping[str, Any]] | None:
    answer = probe(stack, process, "ready")
    return answer if answer[0] == 200 else None


def _not_ready(stack: Stack, process: str) -> tuple[int, Mapping[str, Any]] | None:
    answer = probe(stack, process, "ready")
    return answer if answer[0] == 503 else None


def _of_whom(monitor: Monitor, wanted: str) -> set[str] | None:
    """All queues for which ConsumerSilent fires, once ``wanted`` is one of them."""
    queues = {alert["labels"]["queue"] for alert in monitor.firing().get("ConsumerSilent", [])}
    return queues if wanted in queues else None


class TestAlerts:
    """Each begins and ends in silence: what an alert says is over when its cause is."""

    @pytest.fixture(autouse=True)
    def _silence(self, monitor: Monitor) -> Iterator[None]:
        monitor.wait_for_silence()
        yield
        monitor.wait_for_silence()

    def test_a_relay_that_hangs(self, gateway: Gateway, monitor: Monitor, stack: Stack) -> None:
        item = gateway.product(on_hand=5)
        gateway.ended(gateway.order(item), "CONFIRMED")
        with frozen(stack, "order_relay"):
            order_id = gateway.order(item)
            firing = monitor.wait_for("OutboxNotDraining", "ProcessDown", "NoProcessRunning")
            assert [alert["labels"]["process"] for alert in firing["OutboxNotDraining"]] == ["order_service"]
        gateway.ended(order_id, "CONFIRMED")

    def test_a_consumer_that_is_dead(self, gateway: Gateway, monitor: Monitor, stack: Stack) -> None:
        """The broker gives a frozen consumer up after two missed heartbeats."""
        with frozen(stack, "inventory_service"):
            monitor.wait_for("ConsumerSilent", "NoProcessRunning")
            # One by one: each queue is seen to have nobody when it is looked at.
            orders = "inventory_service.ORDER_CREATED"
            queues = wait_until(lambda: _of_whom(monitor, orders), "also for new orders", timeout_s=ALERT_TIMEOUT_S)
            assert all(queue.startswith("inventory_service.") for queue in queues)

    def test_an_event_nobody_understands(self, broker: Broker, monitor: Monitor) -> None:
        broker.publish("", "inventory_service.ORDER_CREATED", b"no event")
        firing = monitor.wait_for("DeadLettersPresent", "DeadLettersGrowing")
        assert [alert["labels"] for alert in firing["DeadLettersPresent"]] == [
            {"queue": "inventory_service.ORDER_CREATED.dead"}
        ]
        assert firing["DeadLettersGrowing"][0]["labels"]["event"] == "ORDER_CREATED"
        assert len(broker.take("inventory_service.ORDER_CREATED.dead")) == 1

    def test_a_provider_that_fails(
        self, gateway: Gateway, monitor: Monitor, provider_behaves: Callable[..., None]
    ) -> None:
        item = gateway.product(on_hand=50)
        provider_behaves(failure_rate=1.0)
        orders = [gateway.order(item) for _ in range(10)]
        monitor.wait_for("PspCircuitOpen")
        provider_behaves(failure_rate=0.0)
        for order_id in orders:
            gateway.order_when(order_id, lambda order: order["status"] in ("CONFIRMED", "CANCELLED"), "it ended")

    def test_cards_that_are_declined(
        self, gateway: Gateway, monitor: Monitor, provider_behaves: Callable[..., None]
    ) -> None:
        item = gateway.product(on_hand=50)
        provider_behaves(decline_rate=1.0)
        orders = [gateway.order(item) for _ in range(CHARGES_THAT_FAIL)]
        monitor.wait_for("PaymentFailureRateHigh")
        for order_id in orders:
            gateway.ended(order_id, "CANCELLED")

    def test_a_database_that_is_away(self, monitor: Monitor, stack: Stack) -> None:
        with frozen_database(stack):
            firing = monitor.wait_for("DatabaseDown")
        assert {alert["labels"]["process"] for alert in firing["DatabaseDown"]} <= set(SERVICES)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "config", "prometheus-local.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(monitor: Monitor, arguments: tuple[str, ...]) -> None:
    binary = find_binary()
    assert binary is not None
    done = subprocess.run(
        [binary.with_name("promtool"), *arguments], cwd=CONFIGURATION, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
