"""Messages that must end in the dead letters, by the code their reason has.

Owns: the corpus, as ORDER_CREATED. Must not know: brokers, services.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from .payloads import new_order_id, order_created

Message = tuple[bytes, dict[str, Any]]
"""Body and what is special about its properties (arguments of Broker.publish_event)."""


def good_payload() -> dict[str, Any]:
    return order_created(new_order_id(), "no-such-item")


def _body(**changes: Any) -> Message:
    return json.dumps({**good_payload(), **changes}).encode(), {}


def _raw(body: bytes) -> Message:
    return body, {}


def _without(field: str) -> Message:
    payload = good_payload()
    del payload[field]
    return json.dumps(payload).encode(), {}


def _headed(**headers: Any) -> Message:
    return json.dumps(good_payload()).encode(), {"headers": headers}


def _with(**properties: Any) -> Message:
    return json.dumps(good_payload()).encode(), properties


LINE = {"item": "no-such-item", "sellerId": "shop", "price": "1.00"}

UNDECODABLE: dict[str, Message] = {
    "bad JSON": _raw(b'{"id": '),
    "empty body": _raw(b""),
    "not an object": _raw(b"[1, 2]"),
    "a text": _raw(b'"hello"'),
    "null": _raw(b"null"),
    "invalid UTF-8": _raw(b'{"id": "\xff\xfe"}'),
    "UTF-16": _raw(json.dumps(good_payload()).encode("utf-16")),
    "byte order mark": _raw(b"\xef\xbb\xbf" + json.dumps(good_payload()).encode()),
    "lone surrogate": _raw(b'{"id": "\\ud800"}'),
    "NaN": _raw(json.dumps({**good_payload(), "x": float("nan")}).encode()),
    "infinity": _raw(b'{"x": 1e400}'),
    "huge number": _raw(b'{"id": ' + b"9" * 5_000 + b"}"),
    "NUL character": _body(userId="a\x00b"),
    "NUL character in a field nobody reads": _body(unknown={"deep": ["\x00"]}),
    "deep nesting": _raw(b"[" * 100_000),
    "deep nesting that is closed": _raw(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "nesting that could not be written again": _raw(
        json.dumps(good_payload()).encode()[:-1] + b', "x": ' + b"[" * 500 + b"]" * 500 + b"}"
    ),
    "more than a megabyte": _body(unknown="x" * 1_100_000),
    "foreign content type": _with(content_type="application/x-python-serialize"),
    "pickle": (b"\x80\x04N.", {"content_type": "application/x-python-serialize", "content_encoding": "binary"}),
    "foreign encoding": _with(content_encoding="utf-16"),
    "unknown encoding": _with(content_encoding="no-such-encoding"),
    "compression header": (zlib.compress(b"{}"), {"headers": {"compression": "application/x-gzip"}}),
    "compression of an unknown kind": _headed(compression="no-such-kind"),
}
INVALID_ENVELOPE: dict[str, Message] = {
    "schema_version is a text": _headed(schema_version="1"),
    "schema_version is a list": _headed(schema_version=[1]),
    "schema_version is true": _headed(schema_version=True),
    "schema_version is 0": _headed(schema_version=0),
    "schema_version is huge": _headed(schema_version=2**62),
    "causation_id is no uuid": _headed(causation_id="the last one"),
    "causation_id is a number": _headed(causation_id=7),
    "causation_id is long": _headed(causation_id="x" * 10_000),
    "occurred_at is no time": _headed(occurred_at="yesterday"),
    "occurred_at is before time": _headed(occurred_at="0001-01-01T00:00:00+14:00"),
    "traceparent is a table": _headed(traceparent={"a": 1}),
    "message_id is as long as can be": _with(message_id="x" * 255),
    "correlation_id is as long as can be": _with(correlation_id="x" * 255),
    "NUL in correlation_id": _with(correlation_id="a\x00b"),
    "type of another event": _with(type="ORDER_SHREDDED"),
}
INVALID_PAYLOAD: dict[str, Message] = {
    "empty object": _raw(b"{}"),
    "no id": _without("id"),
    "no items": _without("items"),
    "no price": _without("price"),
    "id is no uuid": _body(id="7"),
    "id is a number": _body(id=7),
    "items is empty": _body(items=[]),
    "items is a text": _body(items="cup"),
    "items holds null": _body(items=[None]),
    "quantity is a text": _body(items=[{**LINE, "quantity": "1"}]),
    "quantity is a fraction": _body(items=[{**LINE, "quantity": 1.5}]),
    "quantity is 0": _body(items=[{**LINE, "quantity": 0}]),
    "quantity is negative": _body(items=[{**LINE, "quantity": -1}]),
    "quantity is absurd": _body(items=[{**LINE, "quantity": 10**18}]),
    "quantity is beyond 64 bits": _body(items=[{**LINE, "quantity": 10**30}]),
    "item is very long": _body(items=[{**LINE, "item": "x" * 10_000, "quantity": 1}]),
    "price is a number": _body(price=10.0),
    "price is no money": _body(price="ten"),
    "price is absurd": _body(price="1e30"),
    "price is NaN": _body(price="NaN"),
    "price is negative": _body(price="-10.00"),
    "currency is unknown": _body(currency="euro"),
    "payment mode is unknown": _body(paymentMode="barter"),
}
UNKNOWN_VERSION: dict[str, Message] = {"a newer version": _headed(schema_version=2)}

BY_CODE = {
    "undecodable": UNDECODABLE,
    "invalid_envelope": INVALID_ENVELOPE,
    "invalid_payload": INVALID_PAYLOAD,
    "unknown_schema_version": UNKNOWN_VERSION,
}
