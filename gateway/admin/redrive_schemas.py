"""What operators may send to select dead letters and to redrive them.

Owns: which request has which fields, and their limits. Must not know: what is done with them.
"""

# ruff: noqa: N815 -- the fields' names are the API's

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from gateway.fields import Matches, QueryCount, Several, Text, cursor, limit, moment, whole_number

MOST_LETTERS = 2_000
# A request has no more than 2,000 values in all.
MOST_IDS = 1_000
MOST_FORESEEN = 100
RUN_STATES = ("RUNNING", "STOPPED", "DONE")
LETTER_STATES = ("SELECTED", "SENDING", "SENT", "APPLIED", "FAILED_AGAIN", "UNKNOWN", "GONE", "LEFT_OUT")
_ID_PATTERN = r"^[0-9a-f]{32}$"


def letter_ids(**options: Any) -> Several:
    """Ids of dead letters as lists show them."""
    one = fields.String(validate=Matches(_ID_PATTERN, error="Not an id of a dead letter."))
    return Several(one, validate=validate.Length(min=1, max=MOST_IDS), **options)


class Factor(fields.Float):
    """A JSON number within bounds."""

    def __init__(self, least: float, most: float, **options: Any) -> None:
        super().__init__(validate=validate.Range(min=least, max=most), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class LetterFilter(ma.Schema):
    """All that are given must hold; none given: all dead letters."""

    queue = Text(max_length=200, metadata={"description": "The work queue under which they are found"})
    consumer = Text(max_length=64, metadata={"description": "A service, such as order_service"})
    event = Text(max_length=64)
    error = Text(max_length=64, metadata={"description": "Code of the error; `reason` in lists"})
    text = Text(max_length=200, metadata={"description": "An order's, event's or request's id"})
    failedAfter = moment(description="Not before this time")
    failedBefore = moment(description="Before this time")
    ids = letter_ids()


class Pace(ma.Schema):
    """One first, then batches that grow while all goes well."""

    first = whole_number(1, 100, required=False)
    factor = Factor(1, 10, metadata={"description": "Each batch is so many times the one before"})
    most = whole_number(1, 500, required=False)
    perSecond = Factor(0.1, 1000, metadata={"description": "No more than that; a batch is a second's worth at most"})


class NewRedrive(ma.Schema):
    filter = fields.Nested(LetterFilter, load_default=dict)
    max = whole_number(1, MOST_LETTERS, required=False)
    pace = fields.Nested(Pace, load_default=dict)


class DryRun(ma.Schema):
    filter = fields.Nested(LetterFilter, load_default=dict)
    skip = whole_number(0, MOST_LETTERS, required=False)
    limit = whole_number(1, MOST_FORESEEN, required=False)


class StopRedrive(ma.Schema):
    note = Text(max_length=200)


class RedriveQuery(ma.Schema):
    limit = limit()
    cursor = cursor()
    state = fields.String(validate=validate.OneOf(RUN_STATES))


class RedriveLetterQuery(ma.Schema):
    limit = limit()
    cursor = cursor()
    state = fields.String(validate=validate.OneOf(LETTER_STATES))


class OverviewQuery(ma.Schema):
    groups = fields.String(
        load_default="false",
        validate=validate.OneOf(("true", "false")),
        metadata={"description": "true: also by error, which takes a look at all of them"},
    )


class LetterQuery(ma.Schema):
    limit = limit()
    skip = QueryCount(load_default=0, validate=validate.Range(min=0, max=MOST_LETTERS))
    error = Text(max_length=64, metadata={"description": "Code of the error; `reason` of a letter"})
    text = Text(max_length=200, metadata={"description": "An order's, event's or request's id"})
    failedAfter = moment(description="Not before this time")
    failedBefore = moment(description="Before this time")
