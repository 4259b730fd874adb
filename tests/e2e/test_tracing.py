"""One saga is one trace, and one story in the logs, through every process; a collector that is unwell harms nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner
from harness.collector import Collector, Span
from harness.gateway import Gateway, key, payment_path
from harness.waiting import wait_until
from harness.whole_stack import WholeStack

from ops.cli import main
from ops.stack import Stack

pytestmark = pytest.mark.e2e

ALL_PROCESSES = {
    "gateway",
    "order_service",
    "order_service.relay",
    "inventory_service",
    "inventory_service.relay",
    "payment_service",
    "payment_service.relay",
}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture(scope="module")
def gateway(whole_stack: WholeStack, collector: Collector) -> Gateway:
    """The whole stack, told where its spans go."""
    return whole_stack.up(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "30",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        },
        replicas={},
    )


def _whole_trace(collector: Collector, order_id: str, *names: str) -> list[Span]:
    """The one trace of an order, once spans of these names are in it and none lacks its parent."""

    def there() -> list[Span] | None:
        [trace_id] = collector.traces_of(order_id) or [""]
        spans = collector.trace(trace_id)
        return spans if set(names) <= {s.name for s in spans} and not _orphans(spans) else None

    def seen() -> str:
        return str([(s.process, s.name) for t in collector.traces_of(order_id) for s in collector.trace(t)])

    try:
        return wait_until(there, f"the whole trace of {order_id}")
    except (AssertionError, ValueError) as error:
        raise AssertionError(f"{error}: {seen()}") from error


def _orphans(spans: list[Span]) -> list[Span]:
    ids = {s.span_id for s in spans}
    return [s for s in spans if s.parent_id and s.parent_id not in ids]


def _one(spans: list[Span], name: str, process: str | None = None) -> Span:
    [span] = [s for s in spans if s.name == name and process in (None, s.process)]
    return span


def _ancestors(spans: list[Span], span: Span) -> list[str]:
    by_id = {s.span_id: s for s in spans}
    names = []
    while span.parent_id in by_id:
        span = by_id[span.parent_id]
        names.append(span.name)
    return names


class TestOneOrder:
    def test_is_one_trace_through_every_process(self, gateway: Gateway, collector: Collector) -> None:
        """Given a traced stack, when an order is confirmed, then one trace leads from its request to the end."""
        order_id = gateway.order(gateway.product(on_hand=5))
        gateway.ended(order_id, "CONFIRMED")

        spans = _whole_trace(collector, order_id, "publish ORDER_CONFIRMED", "process PAYMENT_SUCCESS")

        assert {s.process for s in spans} == ALL_PROCESSES
        assert [s.name for s in spans if not s.parent_id] == ["POST /api/v1/orders"]
        assert _ancestors(spans, _one(spans, "process PAYMENT_SUCCESS", "order_service")) == [
            "publish PAYMENT_SUCCESS",
            "save answers",
            "provider charge",
            "process INVENTORY_RESERVED",
            "publish INVENTORY_RESERVED",
            "process ORDER_CREATED",
            "publish ORDER_CREATED",
            "place order",
            "POST /api/v1/orders",
        ]
        assert _ancestors(spans, _one(spans, "order_service.place_orders", "order_service"))[1:] == [
            "POST /api/v1/orders"
        ]
        assert not [s for s in spans if s.is_error]

    def test_shows_the_statements_of_each_service_without_values(self, gateway: Gateway, collector: Collector) -> None:
        secret = f"Secret Street {uuid4().hex}"
        order_id = gateway.order(gateway.product(on_hand=5), shippingAddress=_address(secret))
        gateway.ended(order_id, "CONFIRMED")

        spans = _whole_trace(collector, order_id, "publish ORDER_CONFIRMED", "process PAYMENT_SUCCESS")

        statements = [s for s in spans if "db.query.text" in s.attributes]
        assert {s.process for s in statements} == {"order_service", "inventory_service", "payment_service"}
        parents = {p.name for s in statements for p in spans if p.span_id == s.parent_id}
        assert {"place order", "process ORDER_CREATED", "process INVENTORY_RESERVED", "save answers"} <= parents
        for span in collector.spans():
            assert secret not in str(span)
            assert "tok_success" not in str(span)

    def test_that_is_undone_stays_one_trace(self, gateway: Gateway, collector: Collector) -> None:
        order_id = gateway.order(gateway.product(on_hand=5), paymentMethod="tok_card_declined")
        gateway.ended(order_id, "CANCELLED")

        spans = _whole_trace(collector, order_id, "publish ORDER_CANCELLED", "process INVENTORY_REFUNDED")

        assert "process PAYMENT_FAILED" in _ancestors(spans, _one(spans, "publish ORDER_CANCELLED"))

        def who_heard() -> list[str]:
            return sorted(
                s.process for s in _whole_trace(collector, order_id) if s.name == "process INVENTORY_REFUNDED"
            )

        wait_until(lambda: who_heard() == ["order_service", "payment_service"], "each of its consumers has it, once")

    def test_that_its_customer_pays_and_cancels_later_stays_one_trace(
        self, gateway: Gateway, collector: Collector
    ) -> None:
        """Given requests of their own, then what they do to the order is in its trace, linked to theirs."""
        order = gateway.unpaid(gateway.product(on_hand=5))
        gateway.post(f"{payment_path(order)}/confirm", {"paymentMethod": "tok_success"})
        gateway.ended(order["id"], "CONFIRMED")
        gateway.post(f"/orders/{order['id']}/cancel")
        gateway.ended(order["id"], "CANCELLED")

        spans = _whole_trace(
            collector, order["id"], "CANCEL_REQUESTED", "process PAYMENT_REFUNDED", "process INVENTORY_REFUNDED"
        )

        assert {"provider charge", "provider refund"} & {s.name for s in spans}
        [other] = _one(spans, "CANCEL_REQUESTED").linked
        assert other != spans[0].trace_id
        wait_until(
            lambda: {"POST /api/v1/orders/<order_id>/cancel"} <= {s.name for s in collector.trace(other)},
            "the trace of the request",
        )

    def test_goes_on_the_trace_of_whoever_asks(self, gateway: Gateway, collector: Collector) -> None:
        """Given a traceparent, when an order is placed with it, then its saga is in that trace."""
        item = gateway.product(on_hand=5)
        gateway.ended(gateway.order(item), "CONFIRMED")
        trace_id, parent_id = uuid4().hex, uuid4().hex[:16]
        body = {"items": [{"item": item, "quantity": 1}]}
        status, order, _ = gateway.call(
            "POST", "/orders", body, {**key(), "traceparent": f"00-{trace_id}-{parent_id}-01"}
        )
        assert status == 202, order
        gateway.ended(order["id"], "CONFIRMED")

        def is_whole() -> bool:
            spans = collector.trace(trace_id)
            begun_elsewhere = {s.parent_id for s in _orphans(spans)}
            return {s.process for s in spans} == ALL_PROCESSES and begun_elsewhere == {parent_id}

        wait_until(is_whole, "the saga in the caller's trace")
        assert collector.traces_of(order["id"]) == {trace_id}


class TestManyAtOnce:
    def test_each_has_a_trace_of_its_own(self, gateway: Gateway, collector: Collector) -> None:
        item = gateway.product(on_hand=100)
        gateway.ended(gateway.order(item), "CONFIRMED")
        orders = _place_together(gateway, item, 40)
        for order_id in orders:
            gateway.ended(order_id, "CONFIRMED")

        traces = {
            _whole_trace(collector, o, "publish ORDER_CONFIRMED", "process PAYMENT_SUCCESS")[0].trace_id for o in orders
        }

        assert len(traces) == len(orders)
        batches = [
            s.attributes["messaging.batch.message_count"]
            for s in collector.spans()
            if "messaging.batch.message_count" in s.attributes
        ]
        assert max(batches) > 1


class TestTheStory:
    def test_of_one_order_is_told_by_all_processes_in_order(self, gateway: Gateway, stack: Stack) -> None:
        """Given many orders at once, when one is looked for, then every step of it is told, and nothing of others."""
        item = gateway.product(on_hand=100)
        gateway.ended(gateway.order(item), "CONFIRMED")
        order_id, *others = _place_together(gateway, item, 20)
        gateway.ended(order_id, "CONFIRMED")
        gateway.post(f"/orders/{order_id}/cancel")
        gateway.ended(order_id, "CANCELLED")

        told = wait_until(lambda: _told(stack, order_id, "INVENTORY_REFUNDED"), "the logs tell of the refund")

        steps = [(line["process"], line["event"]) for line in told]
        assert _in_this_order(
            steps,
            ("order_service", "orders_placed"),
            ("order_relay", "events_published"),
            ("inventory_service", "events_applied"),
            ("payment_service", "events_applied"),
            ("payment_service", "provider_answered"),
            ("order_service", "events_applied"),
            ("gateway", "request"),
        ), steps
        posts = [(line["path"], line["status"]) for line in told if line.get("method") == "POST"]
        assert posts == [("/api/v1/orders", 202), (f"/api/v1/orders/{order_id}/cancel", 202)]
        assert not [other for other in others if other in json.dumps(told)]

    def test_is_found_in_a_trace_by_its_lines(self, gateway: Gateway, stack: Stack, collector: Collector) -> None:
        order_id = gateway.order(gateway.product(on_hand=5))
        gateway.ended(order_id, "CONFIRMED")
        told = wait_until(lambda: _told(stack, order_id, "ORDER_CONFIRMED"), "the logs tell that it is confirmed")
        named = {line["trace_id"] for line in told if line["event"] == "request" and line["method"] == "POST"}
        assert named == {_whole_trace(collector, order_id, "publish ORDER_CONFIRMED")[0].trace_id}

    def test_tells_no_secrets(self, gateway: Gateway, stack: Stack) -> None:
        """Given an order with an address and a card, and a login, then no log has any of it."""
        street, card = f"Secret Street {uuid4().hex}", "tok_card_declined"
        begins = {path: path.stat().st_size for path in _logs(stack).values()}
        order_id = gateway.order(gateway.product(on_hand=5), shippingAddress=_address(street), paymentMethod=card)
        gateway.ended(order_id, "CANCELLED")
        login = {"username": "user@ordersaga.example", "password": "User1234!"}
        status, answer, _ = gateway.call("POST", "/auth/token", login)
        assert status == 200
        gateway.call("GET", "/orders?text=Secret", headers={"Authorization": f"Bearer {answer['accessToken']}"})
        wait_until(lambda: _told(stack, order_id, "INVENTORY_REFUNDED"), "the logs tell of the refund")

        written = b"".join(path.read_bytes()[begins.get(path, 0) :] for path in _logs(stack).values())
        assert b"/api/v1/auth/token" in written
        for secret in (street, card, "User1234!", answer["accessToken"], "text=Secret"):
            assert secret.encode() not in written


class TestAnUnwellCollector:
    @pytest.mark.parametrize("illness", ["refuses", "hangs"])
    def test_harms_no_order_and_is_sent_to_again(
        self, gateway: Gateway, collector: Collector, stack: Stack, illness: str
    ) -> None:
        item = gateway.product(on_hand=20)
        gateway.ended(gateway.order(item), "CONFIRMED")
        restarts = {p.name: p.restarts for p in stack.processes()}
        collector.hangs = illness == "hangs"
        if illness == "refuses":
            collector.stop()
        try:
            for _ in range(5):
                gateway.ended(gateway.order(item), "CONFIRMED")
        finally:
            collector.stop()
            collector.hangs = False
            collector.start()

        order_id = gateway.order(item)
        gateway.ended(order_id, "CONFIRMED")
        wait_until(lambda: collector.traces_of(order_id), "spans arrive again", timeout_s=60)
        assert {p.name: p.restarts for p in stack.processes()} == restarts


def _logs(stack: Stack) -> dict[str, Path]:
    return {name: stack.log(name) for name in stack.log_names()}


def _told(stack: Stack, order_id: str, last: str) -> list[dict[str, Any]]:
    """What `ordersaga logs --order` shows once an event of that type is published and applied; nothing before."""
    result = CliRunner().invoke(main, ["--stack", str(stack.folder), "logs", "--order", order_id, "--json"])
    told: list[dict[str, Any]] = [json.loads(line) for line in result.stdout.splitlines()]
    published = [line["event_id"] for line in told if line.get("type") == last]
    applied = [line.get("event_id") for line in told if line["event"] == "events_applied"]
    return told if published and (published[0] in applied or last == "ORDER_CONFIRMED") else []


def _in_this_order(steps: list[tuple[str, str]], *wanted: tuple[str, str]) -> bool:
    left = iter(steps)
    return all(step in left for step in wanted)


def _address(street: str) -> dict[str, str]:
    return {"name": "Ann", "line1": street, "city": "Graz", "postalCode": "8010", "country": "AT"}


def _place_together(gateway: Gateway, item: str, count: int) -> list[str]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: gateway.order(item), range(count)))
