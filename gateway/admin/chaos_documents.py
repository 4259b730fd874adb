"""What operators get who look at trouble made on purpose, for the OpenAPI document only.

Owns: the documented shapes of these responses. Must not know: requests, endpoints or services.
"""

# ruff: noqa: N815 -- the fields' names are the API's

from __future__ import annotations

from marshmallow import fields

from gateway.admin.documents import BehaviourSetting
from gateway.documents import Document, time_text


class ChaosSwitch(Document):
    id = fields.String(required=True, metadata={"format": "uuid"})
    service = fields.String(required=True, metadata={"description": "Who carries it out"})
    kind = fields.String(required=True)
    target = fields.String(required=True)
    amount = fields.Float(required=True, metadata={"description": "0 of a kind that has none"})
    note = fields.String(required=True)
    setBy = fields.String(required=True)
    setAt = time_text(required=True)
    until = time_text(required=True)
    remainingS = fields.Float(required=True, metadata={"description": "Until it ends by itself"})


class Chaos(Document):
    behaviour = fields.List(
        fields.Nested(BehaviourSetting),
        required=True,
        allow_none=True,
        metadata={"description": "Of the provider by itself, without switches; null: the payment service is down"},
    )
    switches = fields.List(fields.Nested(ChaosSwitch), required=True)
    unanswered = fields.List(
        fields.String(), required=True, metadata={"description": "Services that could not say what is on"}
    )


class ChaosEnded(Document):
    behaviour = fields.List(fields.Nested(BehaviourSetting), required=True)
    switches = fields.List(
        fields.Nested(ChaosSwitch), required=True, metadata={"description": "Those that were on, and are off now"}
    )
