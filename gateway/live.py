"""An order live: server-sent events while its saga goes on.

Owns: GET /orders/{id}/events and the form of its messages. Must not know: where news come from (feed).
"""

# ruff: noqa: N815 -- the fields' names are the API's

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import marshmallow as ma
import orjson
from flask import Flask, Response, current_app, request
from marshmallow import fields, validate

from gateway.access import EVERY_ROLE, caller
from gateway.entry_errors import entry_error
from gateway.feed import LONGEST_LIFE_S, Feed, News, Stream
from gateway.fields import Matches
from gateway.openapi import ApiBlueprint
from gateway.paths import as_order_id, uuid_parameter
from gateway.services import ORDER_SERVICE, services
from gateway.serving.presence import is_gone
from shared.errors import InvalidRequest

KEEP_ALIVE_EVERY_S = 15.0
# For the end of this process, and of the client.
LOOK_UP_EVERY_S = 0.5
RECONNECT_AFTER_MS = 1000
CONTENT_TYPE = "text/event-stream"
HEADER = "Last-Event-ID"

_EXTENSION = "ordersaga.feed"
# As many as fit into the database's counter.
_SEQ_PATTERN = r"^[0-9]{1,18}$"
_KEEP_ALIVE = b": keep-alive\n\n"
_SHOWN_CHANGES = ("status", "settledAt", "flag", "allowedActions")
_LAST_EVENT_ID = {
    "in": "header",
    "name": HEADER,
    "required": False,
    "description": "The id of the last event seen, as EventSource sends it; goes before lastEventId",
    # Empty is as good as absent.
    "schema": {"type": "string", "pattern": r"^([0-9]{1,18})?$"},
}
_EXAMPLE = (
    "retry: 1000\n\n"
    'event: order\ndata: {"id":"0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e","status":"CONFIRMED"}\n\n'
    'id: 42\nevent: timeline\ndata: {"type":"PAYMENT_SUCCESS","source":"payment_service"}\n\n'
    "event: end\ndata: {}\n\n"
)

blueprint = ApiBlueprint("live", __name__, url_prefix="/api/v1/orders", description="Orders, live")


class StreamQuery(ma.Schema):
    lastEventId = fields.String(validate=Matches(_SEQ_PATTERN, error="Must be the id of an event."))
    until = fields.String(
        load_default="checkout",
        validate=validate.OneOf(("checkout", "whole")),
        metadata={"description": "checkout: until it is confirmed or cancelled; whole: until nothing more can happen"},
    )


@blueprint.route("/<order_id>/events", methods=["GET"], parameters=[uuid_parameter("order_id"), _LAST_EVENT_ID])
@blueprint.allow(*EVERY_ROLE)
@blueprint.response(
    200, {"type": "string"}, content_type=CONTENT_TYPE, example=_EXAMPLE, description="Events, as they happen"
)
@blueprint.may_answer(204, "It is over, and everything was sent before")
@blueprint.documented(problems=(504,))
@blueprint.arguments(StreamQuery, location="query")
def follow_order(query: dict[str, Any], order_id: str) -> Response:
    """Watch an order: its timeline, and the order itself whenever it changes

    `timeline` bears an entry, with its id; `order` a summary with what may be asked of it now; `end` is the last one.
    After five minutes the stream is closed: whoever connects again with Last-Event-ID misses nothing.
    """
    id_ = as_order_id(order_id)
    after = _last_seen(query)
    news = first_news(id_, after)
    until_whole = query["until"] == "whole"
    if not news.events and _is_over(news, until_whole=until_whole):
        return Response(status=204)
    feed = feed_of_this_process()
    stream = feed.open(order_id=id_, subject=caller().subject, after=after, first=news)
    client = request.environ.get("gunicorn.socket")
    return Response(
        EventStream(feed, stream, until_whole=until_whole, is_gone=lambda: is_gone(client)),
        content_type=CONTENT_TYPE,
        # For proxies: pass on each message at once.
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def register_feed(app: Flask, feed: Feed) -> None:
    app.extensions[_EXTENSION] = feed


def feed_of_this_process() -> Feed:
    return cast(Feed, current_app.extensions[_EXTENSION])


def _last_seen(query: Mapping[str, Any]) -> int:
    text = request.headers.get(HEADER) or query.get("lastEventId") or "0"
    if re.fullmatch(_SEQ_PATTERN, text) is None:
        raise InvalidRequest(f"{HEADER} must be the id of an event", {"errors": {"lastEventId": ["Not an id."]}})
    return int(text)


def first_news(order_id: str, after: int) -> News:
    """In the caller's name: whoever may not see the order gets the service's refusal."""
    [said] = services().call(ORDER_SERVICE, "follow_orders", wanted=[{"orderId": order_id, "after": after}])
    if "error" in said:
        raise entry_error(said["error"])
    return News.read(said, after=after)


def _is_over(news: News, *, until_whole: bool) -> bool:
    return news.is_whole if until_whole else news.has_checked_out


class EventStream:
    """The body of the response, message by message. ``close`` gives the place back, begun or not."""

    def __init__(
        self, feed: Feed, stream: Stream, *, until_whole: bool, is_gone: Callable[[], bool] = lambda: False
    ) -> None:
        self._feed = feed
        self._stream = stream
        self._until_whole = until_whole
        self._is_gone = is_gone
        self._shown: tuple[Any, ...] | None = None
        self._is_over = False
        self._greeting = f"retry: {RECONNECT_AFTER_MS}\n\n".encode()

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> bytes:
        if self._greeting:
            greeting, self._greeting = self._greeting, b""
            return greeting
        quiet_until_s = time.monotonic() + KEEP_ALIVE_EVERY_S
        while not self._must_end():
            if (news := self._stream.next_news(LOOK_UP_EVERY_S)) is not None:
                return self._messages(news)
            if message := self._without_news():
                return message
            if time.monotonic() >= quiet_until_s:
                return _KEEP_ALIVE
        raise StopIteration

    def _must_end(self) -> bool:
        lived_s = time.monotonic() - self._stream.opened_s
        return self._is_over or lived_s >= LONGEST_LIFE_S or self._feed.is_stopping() or self._is_gone()

    def close(self) -> None:
        self._feed.close(self._stream)

    def _without_news(self) -> bytes:
        """What is to be said although nothing happened; empty: nothing."""
        return b""

    def _messages(self, news: News) -> bytes:
        messages = [_message("timeline", _without_seq(event), id_=event["seq"]) for event in news.events]
        shown = tuple(news.order.get(name) for name in _SHOWN_CHANGES)
        if shown != self._shown:
            self._shown = shown
            messages.append(_message("order", news.order))
        if _is_over(news, until_whole=self._until_whole):
            self._is_over = True
            messages.append(_message("end", {}))
        # Changes of what is not shown are no message; an empty piece would be none either.
        return b"".join(messages) or _KEEP_ALIVE


def _message(event: str, data: Any, *, id_: int | None = None) -> bytes:
    """JSON has no line feeds outside its strings, and escapes them inside: one line of data."""
    id_line = b"" if id_ is None else b"id: %d\n" % id_
    return id_line + b"event: " + event.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


def _without_seq(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "seq"}
