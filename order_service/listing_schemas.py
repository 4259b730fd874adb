"""Lists of orders on the wire: what may be asked for, and how orders look there.

Owns: field names and validation. Must not know: how anything is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import RAISE, fields, validate

from order_service.schemas import OrderSummaryView, TimelineEventView
from order_service.search import OrderFilter
from order_service.states import OrderStatus
from shared.event_schema import Moment, PayloadSchema, text

LARGEST_PAGE = 100
MOST_FOLLOWED = 500
LARGEST_SEQ = 2**63 - 1


class Page(PayloadSchema):
    class Meta:
        unknown = RAISE

    limit = fields.Integer(
        required=True, strict=True, validate=validate.Range(1, LARGEST_PAGE, error="out of range, 1 to {max}")
    )
    text = text(required=False)


class OrdersWanted(Page):
    make_value = OrderFilter
    before = fields.UUID(data_key="cursor", error_messages={"invalid_uuid": "not a cursor"})
    status = fields.String(validate=validate.OneOf(list(OrderStatus)))
    user_id = text(required=False, data_key="userId")
    seller_id = text(required=False, data_key="sellerId")
    item = text(required=False)
    since = Moment()
    until = Moment()


class FollowedSchema(PayloadSchema):
    """``after``: the seq of the last event that is known; 0 for none."""

    order_id = fields.String(required=True, data_key="orderId")
    after = fields.Integer(strict=True, load_default=0, validate=validate.Range(0, LARGEST_SEQ))


class FollowSchema(PayloadSchema):
    wanted = fields.List(fields.Nested(FollowedSchema), required=True, validate=validate.Length(0, MOST_FOLLOWED))


class ListedOrderView(OrderSummaryView):
    """With what its seller has to do."""

    awaits_approval = fields.Boolean(data_key="awaitsApproval")
    fulfil_requested_at = Moment(data_key="fulfilRequestedAt")


class FollowedOrderView(OrderSummaryView):
    flag = fields.String()
    allowed_actions = fields.List(fields.String(), data_key="allowedActions")


class FollowedEventView(TimelineEventView):
    seq = fields.Integer()


def said(**arguments: Any) -> Mapping[str, Any]:
    """The arguments that were given: None says nothing."""
    return {name: value for name, value in arguments.items() if value is not None}
