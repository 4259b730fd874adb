"""Answers about many orders at once: pages, what is new about some.

Owns: from RPC arguments to filters and from rows to answers. Must not know: Nameko, HTTP.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from order_service import reading, search
from order_service.access import order_not_found, sight_of
from order_service.domain import allowed_actions
from order_service.listing_schemas import (
    FollowedEventView,
    FollowedOrderView,
    FollowSchema,
    ListedOrderView,
    OrdersWanted,
    said,
)
from order_service.requests import as_uuid, error_answer
from order_service.search import OrderFilter
from order_service.states import Order
from shared.database import Transaction
from shared.event_schema import load_request
from shared.identity import Identity

MOST_EVENTS = 500
_ORDERS, _FOLLOW = OrdersWanted(), FollowSchema()
_SUMMARY, _FOLLOWED, _EVENT = ListedOrderView(), FollowedOrderView(), FollowedEventView()


def list_orders(tx: Transaction, caller: Identity, **arguments: Any) -> dict[str, Any]:
    """A page of summaries of what the caller is a party to, newest first; ``nextCursor`` is None on the last one.

    Raises InvalidRequest.
    """
    wanted: OrderFilter = load_request(_ORDERS, said(**arguments), "the list")
    ids = search.find_orders(tx, sight_of(caller), replace(wanted, limit=wanted.limit + 1))
    page = ids[: wanted.limit]
    return {
        "orders": [_SUMMARY.dump(row) for row in reading.summary_rows(tx, page)],
        "nextCursor": str(page[-1]) if len(ids) > wanted.limit else None,
    }


def follow_orders(tx: Transaction, caller: Identity, wanted: Any) -> list[dict[str, Any]]:
    """For each of ``wanted`` the order as it is and its events after the last one known, as they were recorded.

    An error of its own for what the caller is no party to. Raises InvalidRequest.
    """
    asked = load_request(_FOLLOW, {"wanted": wanted})["wanted"]
    ids = [as_uuid(entry["order_id"]) for entry in asked]
    # Orders first: what is told later than this is only ever more than the order shows, never less.
    found = reading.order_rows(tx, {id_ for id_ in ids if id_ is not None}) if asked else {}
    seen = {id_: order for id_, order in found.items() if _is_party(caller, order[1])}
    rows = reading.events_after(
        tx,
        [(position, id_, asked[position]["after"]) for position, id_ in enumerate(ids) if id_ in seen],
        MOST_EVENTS,
    )
    events = defaultdict(list)
    for row in rows:
        events[row["position"]].append(row)
    return [
        _followed(*seen[id_], events[position]) if id_ in seen else error_answer(order_not_found(asked_id))
        for position, (id_, asked_id) in enumerate(zip(ids, (entry["order_id"] for entry in asked), strict=True))
    ]


def _is_party(caller: Identity, row: Mapping[str, Any]) -> bool:
    return bool(caller.parties_to(user_id=row["user_id"], seller_id=row["seller_id"]))


def _followed(order: Order, row: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "order": _FOLLOWED.dump({**row, "allowed_actions": allowed_actions(order)}),
        "events": [_EVENT.dump(event) for event in events],
        "isWhole": order.is_whole,
        "hasCheckedOut": order.has_checked_out,
    }
