"""What operators may send.

Owns: which request has which fields, and their limits. Must not know: what is done with them.
"""

# ruff: noqa: N815 -- the fields' names are the API's

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from gateway.admin.redrive_schemas import letter_ids
from gateway.fields import Text, cursor, limit, moment, one_of, whole_number
from gateway.schemas import ORDER_STATUSES

SAGA_STATES = ("running", "stuck", "ended")
SAGA_STEPS = ("approval", "answer", "payment", "stock", "fulfilment", "shipment", "compensation", "done")
SAGA_ACTORS = ("customer", "seller", "inventory", "payment", "nobody")
MOST_AT_ONCE = 1_000
_LONGEST_CALL_MS = 600_000
_DAY_MS = 24 * 3600 * 1000


class SagaQuery(ma.Schema):
    limit = limit()
    cursor = cursor()
    state = fields.String(validate=validate.OneOf(SAGA_STATES))
    step = fields.String(validate=validate.OneOf(SAGA_STEPS))
    waitsFor = fields.String(validate=validate.OneOf(SAGA_ACTORS))
    status = fields.String(validate=validate.OneOf(ORDER_STATUSES))
    userId = Text(max_length=64)
    sellerId = Text(max_length=64)
    since = moment(description="Sagas that began then or later")
    until = moment(description="Sagas that began before")
    text = Text(max_length=200)


class Note(ma.Schema):
    note = Text(max_length=500, required=True, metadata={"description": "Why; it stays in the audit log"})


class NewErasure(ma.Schema):
    userId = Text(max_length=64, required=True)
    note = Text(max_length=500, required=True, metadata={"description": "Why; it stays in the audit log"})


class AuditQuery(ma.Schema):
    limit = limit()
    cursor = cursor()
    actor = Text(max_length=64)
    action = Text(max_length=64)
    objectType = Text(max_length=64)
    objectId = Text(max_length=200)
    since = moment(description="What was done then or later")
    until = moment(description="What was done before")


class Redrive(ma.Schema):
    count = whole_number(1, MOST_AT_ONCE)


class Discard(ma.Schema):
    """The oldest ``count``, or exactly those with these ids."""

    class Meta:
        json_schema = one_of("count", "ids")

    count = whole_number(1, MOST_AT_ONCE, required=False)
    ids = letter_ids()
    note = Text(max_length=500, required=True)

    @ma.validates_schema
    def _says_which(self, data: dict[str, Any], **_: Any) -> None:
        if ("count" in data) == ("ids" in data):
            raise ma.ValidationError("Say how many, or which ones.")


class Share(fields.Float):
    """A JSON number from 0 to 1."""

    def __init__(self, **options: Any) -> None:
        super().__init__(validate=validate.Range(min=0, max=1), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


def _whole(minimum: int, maximum: int) -> fields.Integer:
    return whole_number(minimum, maximum, required=False)


class BehaviourChanges(ma.Schema):
    """Settings of the simulated payment provider, at least one; what each does is in GET's answer."""

    class Meta:
        json_schema = {"minProperties": 1}  # noqa: RUF012 -- as marshmallow declares options

    latency_ms = _whole(0, _LONGEST_CALL_MS)
    failure_rate = Share()
    hang_rate = Share()
    lost_answer_rate = Share()
    decline_rate = Share()
    slow_ms = _whole(0, _LONGEST_CALL_MS)
    late_ms = _whole(0, _DAY_MS)
    webhook_delay_ms = _whole(0, _DAY_MS)
    webhook_copies = _whole(1, 20)
    webhook_shuffle = _whole(0, 1)

    @ma.validates_schema
    def _changes_something(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ma.ValidationError("Say what should change.")
