"""The saga board on the wire: what may be asked for, and how a saga looks there.

Owns: field names and validation. Must not know: how anything is found or done.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from marshmallow import RAISE, ValidationError, fields, validate

from order_service.board import Actor, Board
from order_service.listing_schemas import Page
from order_service.saga_search import STEPS, SagaFilter
from order_service.schemas import TimelineEventView
from order_service.states import OrderStatus
from shared.event_schema import Moment, PayloadSchema, text

LONGEST_NOTE = 500


class SagaPlace(fields.Field[tuple[int, UUID]]):
    """Where a page of the board ends: rank and id, because what is flagged comes first."""

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> tuple[int, UUID]:
        try:
            rank, _, id_ = value.partition(".")
            return int(rank) & 1, UUID(id_)
        except (AttributeError, ValueError) as error:
            raise ValidationError("not a cursor") from error


class SagasWanted(Page):
    make_value = SagaFilter
    before = SagaPlace(data_key="cursor")
    board = fields.Enum(Board, by_value=True, data_key="state")
    step = fields.String(validate=validate.OneOf(STEPS))
    actor = fields.Enum(Actor, by_value=True, data_key="waitsFor")
    status = fields.String(validate=validate.OneOf(list(OrderStatus)))
    user_id = text(required=False, data_key="userId")
    seller_id = text(required=False, data_key="sellerId")
    since = Moment()
    until = Moment()


class NoteSchema(PayloadSchema):
    class Meta:
        unknown = RAISE

    note = text(LONGEST_NOTE)


class SagaView(PayloadSchema):
    id = fields.UUID(data_key="orderId")
    status = fields.String()
    reason = fields.String()
    user_id = fields.String(data_key="userId")
    seller_id = fields.String(data_key="sellerId")
    waits_for = fields.String(data_key="waitsFor")
    step = fields.String()
    moved_at = Moment(data_key="since")
    deadline_at = Moment(data_key="until")
    flag = fields.String()
    flagged_at = Moment(data_key="flaggedAt")
    created_at = Moment(data_key="startedAt")
    correlation_id = fields.String(data_key="correlationId")


class SagaStepView(TimelineEventView):
    """A line of the timeline with how long after its cause, and after the beginning, it happened."""

    class Meta:
        exclude = ("payload", "correlation_id")

    after_cause_s = fields.Float(data_key="afterCauseS")
    after_start_s = fields.Float(data_key="afterStartS")


class ExpectedView(PayloadSchema):
    who = fields.String()
    events = fields.List(fields.String())
    answers_to = fields.String(data_key="answersTo")
    is_next = fields.Boolean(data_key="isNext")
    until = Moment()
