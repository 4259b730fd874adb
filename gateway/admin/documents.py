"""What operators get, for the OpenAPI document only.

Owns: the documented shapes of these responses. Must not know: requests, endpoints or services.
"""

# ruff: noqa: N815 -- the fields' names are the API's

from __future__ import annotations

from marshmallow import fields

from gateway.admin.redrive_documents import LetterGroup
from gateway.documents import Document, chaos_marks, maybe_text, time_text


def _up_or(*others: str, description: str) -> fields.String:
    return fields.String(required=True, metadata={"enum": ["up", *others], "description": description})


class GatewayHealth(Document):
    status = _up_or(description="It answers, therefore")
    process = fields.Integer(required=True, metadata={"description": "Its id; there are several workers"})


class BrokerHealth(Document):
    status = _up_or("down", "unknown", description="Whether this gateway can open a connection to it")


class ProviderHealth(Document):
    circuit = maybe_text("closed, open or half-open; null: the payment service does not answer")


class SystemHealth(Document):
    status = _up_or("down", description="up: everything is; the provider does not count, payments wait for it")
    gateway = fields.Nested(GatewayHealth, required=True)
    broker = fields.Nested(BrokerHealth, required=True)
    services = fields.Dict(
        required=True,
        metadata={"description": "By name: status, database, broker; code where there was no answer"},
    )
    provider = fields.Nested(ProviderHealth, required=True)
    chaos = chaos_marks()


class Saga(Document):
    orderId = fields.String(required=True, metadata={"format": "uuid"})
    status = fields.String(required=True)
    reason = maybe_text()
    userId = fields.String()
    sellerId = fields.String()
    waitsFor = maybe_text("Whose turn it is: seller, inventory, payment, customer, nobody")
    step = maybe_text("approval, answer, payment, stock, shipment, fulfilment, compensation or done")
    since = time_text(allow_none=True)
    until = time_text(allow_none=True)
    flag = maybe_text("Why an operator should look at it")
    flaggedAt = time_text(allow_none=True)
    startedAt = time_text()
    correlationId = maybe_text()


class SagaPage(Document):
    sagas = fields.List(fields.Nested(Saga), required=True)
    nextCursor = maybe_text()
    asOf = time_text()


class SagaStep(Document):
    eventId = fields.String(required=True, metadata={"format": "uuid"})
    type = fields.String(required=True)
    source = fields.String(required=True)
    causationId = fields.String(allow_none=True, metadata={"format": "uuid"})
    at = time_text(required=True)
    recordedAt = time_text()
    decision = fields.String(required=True, metadata={"enum": ["emitted", "applied", "ignored"]})
    note = fields.String(required=True, metadata={"description": "What it did, or why it did nothing"})
    afterCauseS = fields.Float(allow_none=True, metadata={"description": "Seconds since its cause"})
    afterStartS = fields.Float(metadata={"description": "Seconds since the order was placed"})


class ExpectedStep(Document):
    who = fields.String(required=True, metadata={"description": "customer, seller, inventory, payment or order"})
    events = fields.List(fields.String(), required=True, metadata={"description": "One of them"})
    answersTo = maybe_text("The event that asks for it; null: nobody's event does")
    isNext = fields.Boolean(required=True, metadata={"description": "false: another step has to come before"})
    until = time_text(allow_none=True)


class SagaDetail(Saga):
    asOf = time_text()
    isWhole = fields.Boolean(required=True)
    isArchived = fields.Boolean(required=True)
    atDeadline = maybe_text("What happens at `until`: cancel or flag")
    allowedActions = fields.List(fields.String())
    timeline = fields.List(fields.Nested(SagaStep), required=True)
    expected = fields.List(fields.Nested(ExpectedStep), required=True)


class Erasure(Document):
    id = fields.String(required=True, metadata={"format": "uuid"})
    userId = fields.String(required=True)
    note = fields.String(required=True)
    requestedBy = fields.String(required=True)
    requestedAt = time_text(required=True)
    erased = fields.Integer(required=True, metadata={"description": "Orders of which something was forgotten"})
    skipped = fields.Integer(required=True, metadata={"description": "Orders that were not finished"})
    finishedAt = time_text(allow_none=True)


class AuditEntry(Document):
    id = fields.String(required=True, metadata={"format": "uuid"})
    service = fields.String(required=True, metadata={"description": "Whose log it stands in"})
    at = time_text(required=True)
    actor = fields.String(required=True)
    roles = fields.List(fields.String())
    action = fields.String(required=True)
    objectType = fields.String(required=True)
    objectId = fields.String(required=True)
    requestId = maybe_text()
    before = fields.Dict(allow_none=True)
    after = fields.Dict(allow_none=True)


class AuditPage(Document):
    entries = fields.List(fields.Nested(AuditEntry), required=True)
    nextCursor = maybe_text()


class DeadLetterQueue(Document):
    queue = fields.String(required=True, metadata={"description": "The work queue that they failed in"})
    event = fields.String(required=True)
    depth = fields.Integer(
        required=True, allow_none=True, metadata={"description": "null: the queue of dead letters is not declared"}
    )


class DeadLetterConsumer(Document):
    service = fields.String(required=True)
    depth = fields.Integer(required=True)
    queues = fields.List(fields.Nested(DeadLetterQueue), required=True)


class DeadLetterOverview(Document):
    depth = fields.Integer(required=True, metadata={"description": "Of all"})
    consumers = fields.List(fields.Nested(DeadLetterConsumer), required=True)
    groups = fields.List(
        fields.Nested(LetterGroup),
        required=True,
        allow_none=True,
        metadata={"description": "By consumer, event and error, the largest first; null: not asked for"},
    )


class DeadLetter(Document):
    id = fields.String(
        required=True, metadata={"description": "Made of its content; another one once it has failed again"}
    )
    eventId = maybe_text()
    type = maybe_text()
    correlationId = maybe_text()
    reason = maybe_text("Code of the error, or the broker's own reason such as delivery_limit")
    error = maybe_text()
    attempts = fields.Integer(metadata={"description": "How often it was tried again before"})
    failedAt = maybe_text()
    originQueue = maybe_text("Where it goes when it is redriven; null: to the queue it was found under")
    originExchange = maybe_text()
    headers = fields.Dict(required=True)
    body = fields.String(required=True, metadata={"description": "Exactly as it is, up to 64 KiB"})
    bodyEncoding = fields.String(required=True, metadata={"enum": ["utf-8", "base64"]})
    bodyBytes = fields.Integer(required=True, metadata={"description": "Of all of it"})


class DeadLetterList(Document):
    queue = fields.String(required=True)
    matching = fields.Integer(required=True, metadata={"description": "Of all, not only of those shown"})
    letters = fields.List(fields.Nested(DeadLetter), required=True)


class Stopped(Document):
    code = fields.String(required=True, metadata={"description": "Stable; made for programs"})
    detail = fields.String(required=True)


class DeadLettersMoved(Document):
    queue = fields.String(required=True)
    count = fields.Integer(required=True, metadata={"description": "How many were asked for"})
    done = fields.Integer(
        required=True, allow_none=True, metadata={"description": "null: interrupted before they were counted"}
    )
    eventIds = fields.List(fields.String(allow_none=True), metadata={"description": "Of those that are done"})
    stopped = fields.Nested(
        Stopped,
        required=True,
        allow_none=True,
        metadata={"description": "Why it ended before `count`; null: it did not, or there were no more"},
    )


class BehaviourSetting(Document):
    name = fields.String(required=True)
    value = fields.Float(required=True)
    default = fields.Float()
    least = fields.Float()
    most = fields.Float()
    meaning = fields.String()


class ProviderBehaviour(Document):
    behaviour = fields.List(fields.Nested(BehaviourSetting), required=True)
