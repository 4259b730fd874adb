"""Redrive runs on the wire: what may be asked for, and how runs and letters look there.

Owns: field names and validation. Must not know: how anything is found or decided.
"""

from __future__ import annotations

from marshmallow import EXCLUDE, RAISE, fields, validate

from order_service.redriving import Pace
from shared.event_schema import Moment, PayloadSchema, text

MOST_LETTERS = 2_000


class PaceSchema(PayloadSchema):
    class Meta:
        unknown = RAISE

    make_value = Pace
    first = fields.Integer(load_default=1, strict=True, validate=validate.Range(1, 100))
    factor = fields.Float(load_default=2.0, validate=validate.Range(1, 10))
    most = fields.Integer(load_default=100, strict=True, validate=validate.Range(1, 500))
    per_second = fields.Float(load_default=50.0, validate=validate.Range(0.1, 1000), data_key="perSecond")


class SelectedSchema(PayloadSchema):
    """One dead letter, as whoever holds the queues saw it. ``code``: why it cannot be sent, if it cannot."""

    class Meta:
        unknown = RAISE

    queue = text()
    destination = text(255)
    fingerprint = text(64)
    identity = text(64)
    inbox_id = fields.UUID(load_default=None, allow_none=True, data_key="inboxId")
    event_id = fields.String(load_default=None, allow_none=True, data_key="eventId")
    event_type = fields.String(load_default=None, allow_none=True, data_key="eventType")
    error_code = fields.String(load_default=None, allow_none=True, data_key="errorCode")
    failed_at = fields.String(load_default=None, allow_none=True, data_key="failedAt")
    code = fields.String(load_default=None, allow_none=True)


class NewRunSchema(PayloadSchema):
    class Meta:
        unknown = RAISE

    filter = fields.Dict(required=True)
    pace = fields.Nested(PaceSchema, required=True)
    letters = fields.List(fields.Nested(SelectedSchema), required=True, validate=validate.Length(0, MOST_LETTERS))


class SightSchema(PayloadSchema):
    """What was seen of a letter of the run. ``others``: dead letters of the same event beside it."""

    class Meta:
        unknown = RAISE

    number = fields.Integer(required=True, strict=True)
    is_there = fields.Boolean(required=True, data_key="isThere")
    failed_again = fields.String(load_default=None, allow_none=True, data_key="failedAgain")
    is_applied = fields.Boolean(load_default=None, allow_none=True, data_key="isApplied")
    others = fields.List(fields.String(), load_default=list)


class OutcomeSchema(PayloadSchema):
    """What became of a letter that was to be sent; without a ``code`` it was."""

    class Meta:
        unknown = RAISE

    number = fields.Integer(required=True, strict=True)
    code = fields.String(load_default=None, allow_none=True)
    detail = fields.String(load_default=None, allow_none=True)


class SightsSchema(PayloadSchema):
    sights = fields.List(fields.Nested(SightSchema), required=True, validate=validate.Length(0, MOST_LETTERS))


class OutcomesSchema(PayloadSchema):
    outcomes = fields.List(fields.Nested(OutcomeSchema), required=True, validate=validate.Length(0, MOST_LETTERS))


class LetterView(PayloadSchema):
    class Meta:
        unknown = EXCLUDE

    number = fields.Integer()
    state = fields.String()
    since = Moment(allow_none=True)
    detail = fields.String(allow_none=True)
    queue = fields.String()
    destination = fields.String()
    event_id = fields.String(allow_none=True, data_key="eventId")
    event_type = fields.String(allow_none=True, data_key="type")
    error_code = fields.String(allow_none=True, data_key="reason")
    failed_at = fields.String(allow_none=True, data_key="failedAt")


class WorkView(PayloadSchema):
    """A letter as whoever drives the run needs it."""

    number = fields.Integer()
    state = fields.String()
    queue = fields.String()
    destination = fields.String()
    fingerprint = fields.String()
    identity = fields.String()
    inbox_id = fields.UUID(allow_none=True, data_key="inboxId")
    known = fields.List(fields.String(), allow_none=True)
