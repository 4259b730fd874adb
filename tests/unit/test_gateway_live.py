"""GET /orders/{id}/events: who may watch, what is sent, and when it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from harness.login import EVERYBODY, client_of
from harness.waiting import wait_until

from gateway import live
from gateway.feed import MOST_STREAMS_EACH, Feed, News
from gateway.live import EventStream
from gateway.services import ServiceUnavailable

ORDER_ID = "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e"
PATH = f"/api/v1/orders/{ORDER_ID}/events"


def order(status: str, **more: Any) -> dict[str, Any]:
    return {"id": ORDER_ID, "status": status, "settledAt": None, "flag": None, "allowedActions": [], **more}


def event(seq: int, type_: str) -> dict[str, Any]:
    return {"seq": seq, "eventId": f"e{seq}", "type": type_, "note": "two\nlines"}


CREATED, RESERVED, PAID = event(7, "ORDER_CREATED"), event(9, "INVENTORY_RESERVED"), event(12, "PAYMENT_SUCCESS")
PENDING = {"order": order("PENDING"), "events": [CREATED], "isWhole": False, "hasCheckedOut": False}
CONFIRMED = {
    "order": order("CONFIRMED"),
    "events": [CREATED, RESERVED, PAID],
    "isWhole": False,
    "hasCheckedOut": True,
}
FULFILLED = CONFIRMED | {"order": order("FULFILLED"), "isWhole": True}


class OrderService:
    def __init__(self) -> None:
        self.now: Any = CONFIRMED
        self.asked: list[tuple[Any, Any]] = []

    def call(self, service: str, method: str, timeout_s: float | None = None, caller: Any = None, **kwargs: Any) -> Any:
        assert (service, method) == ("order_service", "follow_orders")
        [wanted] = kwargs["wanted"]
        self.asked.append((caller, wanted))
        if isinstance(self.now, Exception):
            raise self.now
        if "error" in self.now:
            return [self.now]
        return [self.now | {"events": [e for e in self.now["events"] if e["seq"] > wanted["after"]]}]


@pytest.fixture
def service() -> OrderService:
    return OrderService()


@pytest.fixture
def client(service: OrderService) -> FlaskClient:
    return client_of(service)


@pytest.fixture
def app(client: FlaskClient) -> Flask:
    return client.application


@pytest.fixture
def feed(app: Flask) -> Feed:
    return feed_of(app)


def feed_of(app: Flask) -> Feed:
    feed: Feed = app.extensions["ordersaga.feed"]
    return feed


Message = tuple[str, Any, str | None]


def messages(body: bytes) -> list[Message]:
    """(event, data, id); (comment, None, None)."""
    found: list[Message] = []
    for block in body.decode().split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith(":"):
            found.append((lines[0], None, None))
        fields = dict(line.split(": ", 1) for line in lines if line and not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
    return found


class Watching:
    """A response that is read message by message."""

    def __init__(self, client: FlaskClient, path: str = PATH, **headers: str) -> None:
        self.response = client.get(path, headers=headers)
        self._body: Iterator[bytes] = self.response.iter_encoded()
        assert next(self._body) == b"retry: 1000\n\n"

    def more(self) -> list[Message]:
        return messages(next(self._body))

    def has_ended(self) -> bool:
        return next(self._body, None) is None

    def close(self) -> None:
        self.response.close()


class TestWatching:
    def test_an_order_that_has_ended_is_told_and_closed(self, client: FlaskClient, feed: Feed) -> None:
        response = client.get(PATH)

        assert response.status_code == 200
        assert response.content_type.startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Accel-Buffering"] == "no"
        sent = messages(response.get_data())
        assert [name for name, _, _ in sent] == ["timeline", "timeline", "timeline", "order", "end"]
        assert [id_ for _, _, id_ in sent] == ["7", "9", "12", None, None]
        assert sent[0][1] == {"eventId": "e7", "type": "ORDER_CREATED", "note": "two\nlines"}
        assert sent[3][1] == CONFIRMED["order"]
        response.close()
        assert len(feed) == 0

    def test_an_order_under_way_is_followed_to_its_end(
        self, client: FlaskClient, service: OrderService, feed: Feed
    ) -> None:
        service.now = PENDING
        watching = Watching(client)
        assert [name for name, _, _ in watching.more()] == ["timeline", "order"]

        service.now = CONFIRMED

        assert [name for name, _, _ in watching.more()] == ["timeline", "timeline", "order", "end"]
        assert watching.has_ended()
        watching.close()
        assert len(feed) == 0

    def test_it_may_be_followed_beyond_checkout(self, client: FlaskClient, service: OrderService) -> None:
        watching = Watching(client, f"{PATH}?until=whole")
        assert [name for name, _, _ in watching.more()][-1] == "order"

        service.now = FULFILLED

        assert [name for name, _, _ in watching.more()] == ["order", "end"]
        assert watching.has_ended()
        watching.close()

    @pytest.mark.parametrize("change", [{"flag": "stuck"}, {"settledAt": "now"}, {"allowedActions": ["cancel"]}])
    def test_the_order_is_sent_when_something_of_it_changes(
        self, client: FlaskClient, service: OrderService, change: dict[str, Any]
    ) -> None:
        service.now = PENDING
        watching = Watching(client)
        watching.more()

        service.now = PENDING | {"order": order("PENDING", **change)}

        [(name, data, _)] = watching.more()
        assert (name, data) == ("order", order("PENDING", **change))
        watching.close()

    def test_who_asks_first_is_the_caller_and_then_the_gateway(
        self, client: FlaskClient, service: OrderService
    ) -> None:
        service.now = PENDING
        watching = Watching(client)

        wait_until(lambda: len(service.asked) >= 2, "it was asked again")
        watching.close()

        assert service.asked[0] == (EVERYBODY, {"orderId": ORDER_ID, "after": 0})
        assert service.asked[1] == (None, {"orderId": ORDER_ID, "after": 7})


class TestResuming:
    @pytest.mark.parametrize(
        ("path", "headers"),
        [
            (PATH, {"Last-Event-ID": "7"}),
            (f"{PATH}?lastEventId=7", {}),
            (f"{PATH}?lastEventId=0", {"Last-Event-ID": "7"}),
        ],
    )
    def test_nothing_is_repeated(self, client: FlaskClient, path: str, headers: dict[str, str]) -> None:
        sent = messages(client.get(path, headers=headers).get_data())

        assert [id_ for name, _, id_ in sent if name == "timeline"] == ["9", "12"]

    def test_when_all_was_sent_and_it_is_over_there_is_nothing(self, client: FlaskClient, feed: Feed) -> None:
        response = client.get(PATH, headers={"Last-Event-ID": "12"})

        assert (response.status_code, response.get_data()) == (204, b"")
        assert len(feed) == 0

    @pytest.mark.parametrize("id_", ["x", "-1", "1.5", "9" * 19, "１"])  # noqa: RUF001 -- a digit, but not ASCII
    def test_what_is_no_id_is_refused(self, client: FlaskClient, service: OrderService, id_: str) -> None:
        by_header = client.get(PATH, headers={"Last-Event-ID": id_.encode().decode("latin-1")})
        by_query = client.get(PATH, query_string={"lastEventId": id_})

        assert (by_header.status_code, by_header.get_json()["code"]) == (422, "invalid_request")
        assert by_query.status_code == 422
        assert by_query.get_json()["errors"][0]["parameter"] == "lastEventId"
        assert service.asked == []

    def test_so_is_an_unknown_end(self, client: FlaskClient) -> None:
        assert client.get(f"{PATH}?until=doomsday").status_code == 422
        assert client.get(f"{PATH}?untill=whole").status_code == 422


class TestRefusals:
    def test_what_is_not_ones_own_is_not_found(self, client: FlaskClient, service: OrderService, feed: Feed) -> None:
        service.now = {"error": {"code": "order_not_found", "message": "no such order", "details": {}}}

        response = client.get(PATH)

        assert (response.status_code, response.get_json()["code"]) == (404, "order_not_found")
        assert len(feed) == 0

    def test_what_is_no_uuid_is_no_order(self, client: FlaskClient, service: OrderService) -> None:
        assert client.get("/api/v1/orders/42/events").status_code == 404
        assert service.asked == []

    def test_without_the_service_there_is_no_stream(self, client: FlaskClient, service: OrderService) -> None:
        service.now = ServiceUnavailable("down")

        response = client.get(PATH)

        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")

    def test_one_caller_has_so_many_at_most(self, client: FlaskClient, service: OrderService, feed: Feed) -> None:
        service.now = PENDING
        streams = [Watching(client) for _ in range(MOST_STREAMS_EACH)]

        response = client.get(PATH)

        assert (response.status_code, response.get_json()["code"]) == (503, "too_many_streams")
        assert response.headers["Retry-After"] == "1"
        for stream in streams:
            stream.close()
        assert len(feed) == 0

    def test_a_head_opens_no_stream(self, client: FlaskClient, service: OrderService, feed: Feed) -> None:
        service.now = PENDING

        response = client.head(PATH)

        assert (response.status_code, response.get_data()) == (200, b"")
        response.close()
        assert len(feed) == 0


class TestEnding:
    @pytest.fixture
    def body(self, feed: Feed, service: OrderService) -> Iterator[EventStream]:
        service.now = PENDING
        first = News.read(PENDING, after=0)
        stream = feed.open(order_id=ORDER_ID, subject="anna", after=0, first=first)
        body = EventStream(feed, stream, until_whole=False)
        yield body
        body.close()

    def read_beginning(self, body: EventStream) -> None:
        assert next(body).startswith(b"retry:")
        assert b"ORDER_CREATED" in next(body)

    def test_silence_is_filled(self, body: EventStream, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(live, "KEEP_ALIVE_EVERY_S", 0.0)
        monkeypatch.setattr(live, "LOOK_UP_EVERY_S", 0.01)
        self.read_beginning(body)

        assert [next(body), next(body)] == [b": keep-alive\n\n"] * 2

    def test_it_ends_with_its_process(self, service: OrderService) -> None:
        service.now = PENDING
        stopping: list[bool] = []
        watching = Watching(client_of(service, is_stopping=lambda: bool(stopping)))
        watching.more()

        stopping.append(True)

        assert watching.has_ended()
        watching.close()

    def test_it_ends_with_its_client(self, feed: Feed, service: OrderService) -> None:
        service.now = PENDING
        stream = feed.open(order_id=ORDER_ID, subject="anna", after=0, first=News.read(PENDING, after=0))
        body = EventStream(feed, stream, until_whole=False, is_gone=lambda: True)

        assert len(list(body)) == 1
        body.close()

    def test_it_does_not_live_for_ever(self, body: EventStream, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read_beginning(body)

        monkeypatch.setattr(live, "LONGEST_LIFE_S", 0.0)

        assert next(body, None) is None

    def test_a_stream_that_was_never_read_gives_its_place_back(
        self, feed: Feed, client: FlaskClient, service: OrderService
    ) -> None:
        service.now = PENDING
        response = client.get(PATH)
        assert len(feed) == 1

        response.close()

        assert len(feed) == 0


def test_openapi_shows_a_stream(client: FlaskClient) -> None:
    path = client.get("/openapi.json").get_json()["paths"]["/api/v1/orders/{order_id}/events"]
    operation = path["get"]

    assert list(operation["responses"]["200"]["content"]) == ["text/event-stream"]
    assert {"204", "404", "422", "503", "504"} <= set(operation["responses"])
    assert {p["name"] for p in operation["parameters"] if "name" in p} == {"lastEventId", "until"}
    assert {p["name"] for p in path["parameters"]} == {"order_id", "Last-Event-ID"}
    assert operation["x-roles"] == ["ADMIN", "SELLER", "USER"]
