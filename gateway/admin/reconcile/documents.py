"""What comes in and out of /admin/reconcile, for reading requests and for the OpenAPI document.

Owns: fields and their limits. Must not know: what is done with them.
"""

# ruff: noqa: N815 -- the fields' names are the API's

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from gateway.admin.reconcile.kinds import KINDS
from gateway.admin.reconcile.places import STAGES
from gateway.documents import Document, maybe_text
from gateway.fields import UUID_PATTERN, Matches, QueryCount, Text, uuid_text, whole_number

MOST_ORDERS = 50
_LONGEST_PLACE = 2_000
_YEAR_S = 366 * 24 * 3600
USUAL_QUIET_S, _LONGEST_QUIET_S = 30, 3600
_CODES = sorted(KINDS)


def _between(least: int, most: int, **options: Any) -> QueryCount:
    return QueryCount(validate=validate.Range(min=least, max=most), **options)


_IDS_PATTERN = rf"^{UUID_PATTERN[1:-1]}(,{UUID_PATTERN[1:-1]}){{0,{MOST_ORDERS - 1}}}$"


def _quiet() -> fields.Integer:
    return _between(1, _LONGEST_QUIET_S, load_default=USUAL_QUIET_S)


class PassQuery(ma.Schema):
    """Where to look: on from ``cursor``, or ``full``, or since a watermark, or what changed ``ago`` seconds ago."""

    cursor = Text(max_length=_LONGEST_PLACE)
    since = Text(max_length=_LONGEST_PLACE)
    ago = _between(1, _YEAR_S)
    full = fields.Boolean(load_default=False, truthy={"true"}, falsy={"false"})
    limit = _between(1, 500, load_default=200)
    quiet = _quiet()


class OrdersQuery(ma.Schema):
    ids = fields.String(
        required=True,
        validate=Matches(_IDS_PATTERN, error=f"1 to {MOST_ORDERS} ids, with commas between."),
        metadata={"description": "Order ids, with commas between"},
    )
    quiet = _quiet()


class WantedRepair(ma.Schema):
    code = fields.String(required=True, validate=validate.OneOf(_CODES))
    orderId = uuid_text()
    subject = Text(max_length=200, allow_none=True)
    quiet = whole_number(1, _LONGEST_QUIET_S, required=False)


class DiscrepancyDocument(Document):
    code = fields.String(required=True, metadata={"enum": _CODES})
    meaning = fields.String(required=True)
    orderId = fields.String(required=True, allow_none=True, metadata={"description": "null: it is about no order"})
    subject = maybe_text("The charge, return, event, item, service or queue that it is about")
    says = fields.Dict(required=True, metadata={"description": "Who says what"})
    isSafe = fields.Boolean(required=True, metadata={"description": "Whether it may be repaired without looking"})
    command = fields.String(required=True, metadata={"description": "What repairs it, or shows more of it"})
    runbook = fields.String(required=True)


class Checked(Document):
    orders = fields.Integer()
    reservations = fields.Integer()
    payments = fields.Integer()
    charges = fields.Integer()
    items = fields.Integer()


class OrdersCompared(Document):
    checked = fields.Nested(Checked, required=True)
    discrepancies = fields.List(fields.Nested(DiscrepancyDocument), required=True)
    unsettled = fields.List(
        fields.String(metadata={"format": "uuid"}),
        required=True,
        metadata={"description": "Orders whose sides differ, but to which something happened just now"},
    )


class PassPage(OrdersCompared):
    stage = fields.String(required=True, metadata={"enum": list(STAGES), "description": "Where to go on"})
    nextCursor = maybe_text()
    watermark = maybe_text("At the end: `since` of the next pass")


class RepairOutcome(Document):
    code = fields.String(required=True)
    orderId = fields.String(required=True, metadata={"format": "uuid"})
    subject = maybe_text()
    repaired = fields.Boolean(
        required=True, allow_none=True, metadata={"description": "Whether it was begun; null: interrupted, look again"}
    )
    did = maybe_text("What was done")
    detail = maybe_text("Why nothing was done")
