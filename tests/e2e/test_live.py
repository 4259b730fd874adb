"""An order watched live on the whole stack: every event once, whatever happens to the connection."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from harness.gateway import Gateway, key
from harness.waiting import wait_until

from ops.people import CUSTOMER, customer

pytestmark = pytest.mark.e2e

TIMEOUT_S = 30.0
Message = tuple[str | None, str, Any]


def _watch(gateway: Gateway, order_id: str, *, last_event_id: str | None = None, until: str = "whole") -> Any:
    headers = {"Authorization": f"Bearer {gateway.people.token(customer(CUSTOMER))}"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    address = f"{gateway.address}/api/v1/orders/{order_id}/events?until={until}"
    return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT_S)  # noqa: S310


def _messages(response: Any) -> Iterator[Message]:
    """(id, event, data) of each message until the stream ends."""
    id_, event = None, ""
    for line in response:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "id":
            id_ = value
        elif name == "event":
            event = value
        elif name == "data":
            yield id_, event, json.loads(value)
            id_ = None


def _timeline(messages: list[Message]) -> list[str]:
    return [data["eventId"] for _, event, data in messages if event == "timeline"]


def test_each_event_comes_once_although_the_connection_breaks(gateway: Gateway) -> None:
    order_id = gateway.ended(gateway.order(gateway.product(on_hand=5)), "CONFIRMED")["id"]
    with _watch(gateway, order_id) as response:
        messages = _messages(response)
        first = [next(messages) for _ in range(2)]
    assert {event for _, event, _ in first} == {"timeline"}

    with _watch(gateway, order_id, last_event_id=first[-1][0]) as response:
        messages = _messages(response)
        beginning = [next(messages)]
        gateway.post(f"/orders/{order_id}/cancel")
        rest = [*beginning, *messages]

    order = gateway.ended(order_id, "CANCELLED")
    seen = _timeline(first) + _timeline(rest)
    assert sorted(seen) == sorted(event["eventId"] for event in order["timeline"])
    assert len(seen) == len(set(seen))
    assert rest[-1][1] == "end"
    assert [data["status"] for _, event, data in rest if event == "order"][-1] == "CANCELLED"


def test_when_it_is_over_and_all_was_seen_nothing_is_sent(gateway: Gateway) -> None:
    order_id = gateway.ended(gateway.order(gateway.product(on_hand=0)), "CANCELLED")["id"]
    with _watch(gateway, order_id) as response:
        last = [id_ for id_, event, _ in _messages(response) if event == "timeline"][-1]

    with _watch(gateway, order_id, last_event_id=last) as response:
        assert (response.status, response.read()) == (204, b"")


def test_a_request_is_known_by_its_id_in_the_whole_saga(gateway: Gateway) -> None:
    """Given a request with an id of its client's, then every event of its saga bears it."""
    item, request_id = gateway.product(on_hand=5), f"checkout-{uuid4().hex}"
    gateway.ended(gateway.order(item), "CONFIRMED")

    body = {"items": [{"item": item, "quantity": 1}]}
    _, order, headers = gateway.call("POST", "/orders", body, {**key(), "X-Request-Id": request_id})
    events = gateway.ended(order["id"], "CONFIRMED")["timeline"]

    assert headers["X-Request-Id"] == request_id
    assert {event["source"] for event in events} == {"order_service", "inventory_service", "payment_service"}
    assert {event["correlationId"] for event in events} == {request_id}
    wait_until(lambda: gateway.get(f"/orders?text={request_id}")["orders"], "the order is found by it")
