"""What comes in and out of /admin/finance, for reading requests and for the OpenAPI document.

Owns: fields and their limits. Must not know: what is done with them.
"""

# ruff: noqa: N815 -- the fields' names are the API's

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import marshmallow as ma
from marshmallow import fields

from gateway.admin.finance.comparing import Verdict
from gateway.documents import Document, maybe_text, time_text
from gateway.fields import Matches, Text, currency, cursor, limit

DIFFERENCES = (
    "confirmed_not_captured",
    "captured_not_ordered",
    "amount_differs",
    "refunds_differ",
    "ledger_differs",
)
_NOT_A_DAY = "Must be a day such as 2026-01-31."
_DAY_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


class Day(fields.String):
    """A day of the calendar, of UTC."""

    default_error_messages = {  # noqa: RUF012 -- as marshmallow declares it
        "day": _NOT_A_DAY,
    }

    def __init__(self, *, description: str, **options: Any) -> None:
        super().__init__(
            validate=Matches(_DAY_PATTERN, error=_NOT_A_DAY),
            metadata={"format": "date", "description": description},
            **options,
        )

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            date.fromisoformat(text)
        except ValueError:
            raise self.make_error("day") from None
        return text


FinanceQuery = ma.Schema.from_dict(
    {
        "from": Day(description="The first day of UTC; without it the 30 days that end with the last"),
        "to": Day(description="The last day, included; without it today"),
        "seller": Text(max_length=64),
        "currency": currency(required=False),
        "limit": limit(),
        "cursor": cursor(),
    },
    name="FinanceQuery",
)
"""`from` is a word of Python's own."""


def _amount(description: str) -> fields.String:
    return fields.String(required=True, metadata={"description": description, "examples": ["10.00"]})


def _number(description: str) -> fields.Integer:
    return fields.Integer(required=True, metadata={"description": description})


class Sums(Document):
    currency = fields.String(required=True)
    placedOrders = _number("Orders that were placed on this day")
    placed = _amount("What they cost together")
    standingOrders = _number("Those of them that are confirmed or fulfilled now")
    ordered = _amount("What these cost")
    orderedCaptured = _amount("What was captured for these, on whichever day")
    notCaptured = _amount("ordered less orderedCaptured")
    payments = _number("Payments that were captured on this day, for whichever order")
    captured = _amount("Revenue: what they took")
    refunds = _number("Refunds that were carried out on this day")
    refunded = _amount("What went back")
    net = _amount("captured less refunded")


class DayOfSeller(Sums):
    day = fields.String(required=True, metadata={"format": "date"})
    sellerId = fields.String(required=True, metadata={"description": "Empty: nobody knows who sold it"})


class SourceAge(Document):
    database = fields.String(required=True, metadata={"enum": ["order", "payment"]})
    asOf = time_text(required=True, allow_none=True)
    ageS = fields.Float(required=True, allow_none=True)
    isStale = fields.Boolean(required=True)
    lsn = fields.Integer(allow_none=True)


class Loss(Document):
    at = time_text(required=True)
    first = fields.Integer(required=True, data_key="from", metadata={"description": "The first offset that is gone"})
    last = fields.Integer(
        required=True, allow_none=True, data_key="to", metadata={"description": "null: another stream was begun"}
    )
    times = fields.Integer(required=True)


class StreamPlace(Document):
    name = fields.String(required=True)
    offset = fields.Integer(required=True, allow_none=True, metadata={"description": "Where it is read on"})
    messages = fields.Integer(required=True)
    unreadable = fields.Integer(required=True, metadata={"description": "Messages that were left out"})
    lost = fields.Nested(Loss, required=True, allow_none=True, metadata={"description": "null: nothing ever was"})


class OrderDiffers(Document):
    kind = fields.String(required=True, metadata={"enum": list(DIFFERENCES)})
    orderId = fields.String(required=True, metadata={"format": "uuid"})
    sellerId = maybe_text()
    orderStatus = maybe_text("null: no such order")
    price = maybe_text()
    paymentStatus = maybe_text("null: no payment")
    captured = fields.String(required=True)
    refunded = fields.String(required=True, metadata={"description": "As the payment says"})
    carriedOut = fields.String(required=True, metadata={"description": "As its refunds say"})
    receivable = fields.String(required=True, metadata={"description": "As the ledger says"})
    currency = maybe_text()
    since = time_text(required=True)
    isCertain = fields.Boolean(
        required=True, metadata={"description": "false: what is still on its way may explain it"}
    )


class Differences(Document):
    certain = fields.Integer(required=True)
    uncertain = fields.Integer(required=True)
    isCut = fields.Boolean(required=True, metadata={"description": "There are more than are shown"})
    orders = fields.List(fields.Nested(OrderDiffers), required=True)


class CapturedRefunded(Document):
    captured = fields.String(required=True)
    refunded = fields.String(required=True)


class ReconciliationLine(Document):
    currency = fields.String(required=True)
    view = fields.Nested(CapturedRefunded, required=True)
    ledger = fields.Nested(CapturedRefunded, required=True)
    missing = fields.Nested(CapturedRefunded, required=True, metadata={"description": "What the ledger says more, now"})
    settledMissing = fields.Nested(
        CapturedRefunded, required=True, metadata={"description": "And of what moved before `cut`"}
    )
    verdict = fields.String(required=True, metadata={"enum": list(Verdict)})


class Reconciliation(Document):
    """Of all sellers, whatever is filtered."""

    verdict = fields.String(required=True, metadata={"enum": list(Verdict)})
    meaning = fields.String(required=True)
    viewAsOf = time_text(required=True, allow_none=True)
    lagS = fields.Float(required=True, allow_none=True, metadata={"description": "How far behind the view is"})
    ledgerAsOf = time_text(required=True, allow_none=True)
    cut = time_text(required=True, allow_none=True)
    unbalanced = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Ledger transactions that do not add up to nothing"}
    )
    lines = fields.List(fields.Nested(ReconciliationLine), required=True)
    trouble = maybe_text("Why nothing can be said")


class FinanceView(Document):
    first = fields.String(required=True, data_key="from", metadata={"format": "date"})
    last = fields.String(required=True, data_key="to", metadata={"format": "date"})
    asOf = time_text(required=True, allow_none=True)
    ageS = fields.Float(required=True, allow_none=True)
    isStale = fields.Boolean(required=True)
    staleAfterS = fields.Float(required=True)
    isWhole = fields.Boolean(
        required=True, metadata={"description": "false: changes were lost, and no snapshot has told them again since"}
    )
    sources = fields.List(fields.Nested(SourceAge), required=True)
    stream = fields.Nested(StreamPlace, required=True)
    rows = fields.List(fields.Nested(DayOfSeller), required=True)
    nextCursor = maybe_text()
    totals = fields.List(fields.Nested(Sums), required=True, metadata={"description": "Of all pages, by currency"})
    differences = fields.Nested(Differences, required=True)
    reconciliation = fields.Nested(Reconciliation, required=True)
