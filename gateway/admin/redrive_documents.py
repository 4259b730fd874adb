"""What operators get about redrives, for the OpenAPI document only.

Owns: the documented shapes of these responses. Must not know: requests, endpoints or services.
"""

# ruff: noqa: N815 -- the fields' names are the API's

from __future__ import annotations

from marshmallow import fields

from gateway.documents import Document, maybe_text, time_text

VERDICTS = (
    "will_apply",
    "no_effect",
    "already_applied",
    "order_terminal",
    "unknown_order",
    "older_than_horizon",
    "invalid",
    "will_fail",
    "cannot_be_sent",
    "unknown",
)


class RedriveLetter(Document):
    number = fields.Integer(required=True)
    state = fields.String(required=True)
    since = time_text(allow_none=True)
    detail = maybe_text("Why it is so")
    queue = fields.String(required=True, metadata={"description": "Under which it was found"})
    destination = fields.String(required=True, metadata={"description": "The queue in which it failed"})
    eventId = maybe_text()
    type = maybe_text()
    reason = maybe_text("Code of the error for which it was a dead letter")
    failedAt = maybe_text()


class RedriveRun(Document):
    id = fields.String(required=True, metadata={"format": "uuid"})
    state = fields.String(required=True, metadata={"enum": ["RUNNING", "STOPPED", "DONE"]})
    reason = maybe_text("Why it stopped: failed_again, no_outcome, operator, refused, unroutable")
    detail = maybe_text()
    filter = fields.Dict(required=True)
    pace = fields.Dict(required=True)
    total = fields.Integer(required=True, metadata={"description": "Letters of the frozen selection"})
    letters = fields.Dict(required=True, metadata={"description": "How many of them are in which state"})
    nextBatch = fields.Integer(required=True)
    createdBy = fields.String(required=True)
    createdAt = time_text(required=True)
    updatedAt = time_text(required=True)
    endedAt = time_text(allow_none=True)
    troubled = fields.List(
        fields.Nested(RedriveLetter), metadata={"description": "Some of those that failed again; not in lists"}
    )


class RedrivePage(Document):
    redrives = fields.List(fields.Nested(RedriveRun), required=True)
    nextCursor = maybe_text()


class RedriveLetterPage(Document):
    letters = fields.List(fields.Nested(RedriveLetter), required=True)
    nextCursor = maybe_text()


class RedriveStep(Document):
    redrive = fields.Nested(RedriveRun, required=True)
    step = fields.String(
        required=True,
        metadata={"enum": ["send", "await_outcome", "pace", "await_letters", "busy", "stopped", "done"]},
    )
    waitS = fields.Float(required=True, metadata={"description": "Ask again after so many seconds"})
    sent = fields.Integer(required=True, metadata={"description": "Letters that this step sent"})


class ForeseenLetter(Document):
    id = fields.String(required=True)
    queue = fields.String(required=True)
    destination = fields.String(required=True)
    eventId = maybe_text()
    type = maybe_text()
    reason = maybe_text()
    failedAt = maybe_text()
    verdict = fields.String(required=True, metadata={"enum": list(VERDICTS)})
    decision = fields.String(required=True, metadata={"description": "In words"})
    events = fields.List(fields.String(), metadata={"description": "Events that its consumer would publish"})


class Forecast(Document):
    matching = fields.Integer(required=True, metadata={"description": "Of all, not only of those shown"})
    letters = fields.List(fields.Nested(ForeseenLetter), required=True)


class LetterGroup(Document):
    consumer = fields.String(required=True)
    event = fields.String(required=True)
    queue = fields.String(required=True)
    reason = maybe_text("Code of the error, or the broker's own reason")
    count = fields.Integer(required=True)
    oldest = maybe_text("When the first of them failed")
    newest = maybe_text()
    example = fields.Dict(required=True, metadata={"description": "The newest: its id, event id and error"})
