"""Lists of orders on the wire: what may be asked for, and how orders look there.

Owns: field names and validation. Must not know: how anything is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from marshmallow import RAISE, ValidationError, fields, validate

from order_service.board import Board
from order_service.schemas import OrderSummaryView, TimelineEventView
from order_service.search import OrderFilter, SagaFilter
from order_service.states import OrderStatus
from shared.event_schema import Moment, PayloadSchema, text

LARGEST_PAGE = 100
MOST_FOLLOWED = 500
LARGEST_SEQ = 2**63 - 1


class _Page(PayloadSchema):
    class Meta:
        unknown = RAISE

    limit = fields.Integer(
        required=True, strict=True, validate=validate.Range(1, LARGEST_PAGE, error="out of range, 1 to {max}")
    )
    text = text(required=False)


class OrdersWanted(_Page):
    make_value = OrderFilter
    before = fields.UUID(data_key="cursor", error_messages={"invalid_uuid": "not a cursor"})
    status = fields.String(validate=validate.OneOf(list(OrderStatus)))
    user_id = text(required=False, data_key="userId")
    seller_id = text(required=False, data_key="sellerId")
    item = text(required=False)
    since = Moment()
    until = Moment()


class SagaPlace(fields.Field[tuple[int, UUID]]):
    """Where a page of the board ends: rank and id, because what is flagged comes first."""

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> tuple[int, UUID]:
        try:
            rank, _, id_ = value.partition(".")
            return int(rank) & 1, UUID(id_)
        except (AttributeError, ValueError) as error:
            raise ValidationError("not a cursor") from error


class SagasWanted(_Page):
    make_value = SagaFilter
    before = SagaPlace(data_key="cursor")
    board = fields.Enum(Board, by_value=True, data_key="state")


class FollowedSchema(PayloadSchema):
    """``after``: the seq of the last event that is known; 0 for none."""

    order_id = fields.String(required=True, data_key="orderId")
    after = fields.Integer(strict=True, load_default=0, validate=validate.Range(0, LARGEST_SEQ))


class FollowSchema(PayloadSchema):
    wanted = fields.List(fields.Nested(FollowedSchema), required=True, validate=validate.Length(0, MOST_FOLLOWED))


class FollowedOrderView(OrderSummaryView):
    flag = fields.String()
    allowed_actions = fields.List(fields.String(), data_key="allowedActions")


class FollowedEventView(TimelineEventView):
    seq = fields.Integer()


class SagaView(PayloadSchema):
    id = fields.UUID(data_key="orderId")
    status = fields.String()
    reason = fields.String()
    waits_for = fields.String(data_key="waitsFor")
    step = fields.String()
    updated_at = Moment(data_key="since")
    deadline_at = Moment(data_key="until")
    flag = fields.String()
    flagged_at = Moment(data_key="flaggedAt")
    created_at = Moment(data_key="startedAt")
    correlation_id = fields.String(data_key="correlationId")


def said(**arguments: Any) -> Mapping[str, Any]:
    """The arguments that were given: None says nothing."""
    return {name: value for name, value in arguments.items() if value is not None}
