"""Nothing was lost on the way: each published event was taken in by each of its consumers, each order's story is whole.

Owns: events against inboxes and timelines. Must not know: what events do.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from ops.books import report
from ops.invariants import Books
from shared.choreography import load_choreography

CHOREOGRAPHY = load_choreography()
_DATABASES = {"order_service": "order", "inventory_service": "inventory", "payment_service": "payment"}
_PUBLISHED = """
select event_type, event_id::text, aggregate_id from outbox
where published_at is not null and occurred_at >= cast(%s as timestamptz)
"""
_TAKEN_IN = "select event_type, event_id::text from inbox where received_at >= cast(%s as timestamptz)"
_CREATED_AND_CANCELLED = ("ORDER_CREATED", "ORDER_CANCELLED")
# With its process frozen in the middle of it; still shorter than the deadline of an order without an answer.
_LONGEST_TRANSACTION = timedelta(seconds=25)
_TAKEN_IN_AT = """
select event_id::text, received_at from inbox
where event_type in ('ORDER_CREATED', 'ORDER_CANCELLED') and received_at >= cast(%s as timestamptz)
"""
_ANSWERED = "select causation_id::text from outbox where occurred_at >= cast(%s as timestamptz)"
_TOLD = """
select order_id::text, event_id::text from order_events where recorded_at >= cast(%s as timestamptz)
"""
_ORDERS = "select id::text from orders where created_at >= cast(%s as timestamptz)"
_BEFORE_ITS_CAUSE = """
select e.order_id::text, e.event_type, c.event_type from order_events e
join order_events c on c.order_id = e.order_id and c.event_id = e.causation_id
where e.occurred_at < c.occurred_at and e.recorded_at >= cast(%s as timestamptz)
"""
_LAST_STATUS = """
select o.id::text, o.status, h.status from orders o
left join lateral (select status from order_status_history where order_id = o.id order by id desc limit 1) h on true
where h.status is distinct from o.status and o.created_at >= cast(%s as timestamptz)
"""


def incomplete(books: Books, since: datetime, *, clocks_agree: bool) -> Iterator[str]:
    """Of what happened from ``since`` on; with clocks that jump, times say nothing about what came first."""
    published = {
        service: {(row[0], row[1]): row[2] for row in books.rows(database, _PUBLISHED, (since,))}
        for service, database in _DATABASES.items()
    }
    for consumer, database in _DATABASES.items():
        taken_in = set(books.rows(database, _TAKEN_IN, (since,)))
        for service, events in published.items():
            lost = [
                f"{type_} {id_}" for type_, id_ in events if _consumes(consumer, type_) and (type_, id_) not in taken_in
            ]
            yield from report(f"events of {service} that {consumer} never took in", lost)
    yield from _gaps_in_timelines(books, since, published)
    yield from _unanswered(books, since, published["order_service"])
    if clocks_agree:
        rows = books.rows("order", _BEFORE_ITS_CAUSE, (since,))
        yield from report("events before their cause", [f"{order} {event} before {c}" for order, event, c in rows])
    rows = books.rows("order", _LAST_STATUS, (since,))
    yield from report(
        "orders whose history ends elsewhere", [f"{id_} {now}, history {then}" for id_, now, then in rows]
    )


def _consumes(service: str, event_type: str) -> bool:
    return any(consumer.service == service for consumer in CHOREOGRAPHY.events[event_type].consumers)


def _gaps_in_timelines(
    books: Books, since: datetime, published: dict[str, dict[tuple[str, str], str]]
) -> Iterator[str]:
    """An event may be taken in and yet have left no trace; the order's story tells."""
    told = set(books.rows("order", _TOLD, (since,)))
    orders = {row[0] for row in books.rows("order", _ORDERS, (since,))}
    missing = [
        f"{aggregate} {type_}"
        for service, events in published.items()
        for (type_, id_), aggregate in events.items()
        if aggregate in orders
        and (service == "order_service" or _consumes("order_service", type_))
        and (aggregate, id_) not in told
    ]
    yield from report("events missing in their order's timeline", missing)


def _unanswered(books: Books, since: datetime, orders: dict[tuple[str, str], str]) -> Iterator[str]:
    """Inventory answers each new order, unless it knew before that it is cancelled.

    An order without an answer is cancelled at its deadline, and ends whole: without this nobody would notice. Times in
    the inbox are those at which transactions began; which of two was first at the order's row, they do not say.
    """
    taken_in_at = dict(books.rows("inventory", _TAKEN_IN_AT, (since,)))
    answered = {row[0] for row in books.rows("inventory", _ANSWERED, (since,))}
    ids = {kind: {o: id_ for (type_, id_), o in orders.items() if type_ == kind} for kind in _CREATED_AND_CANCELLED}
    created, cancelled = (ids[kind] for kind in _CREATED_AND_CANCELLED)
    silent = [order for order, id_ in created.items() if id_ in taken_in_at and id_ not in answered]
    unexplained = [
        order
        for order in silent
        if order not in cancelled
        or cancelled[order] not in taken_in_at
        or taken_in_at[cancelled[order]] - taken_in_at[created[order]] > _LONGEST_TRANSACTION
    ]
    yield from report("new orders that inventory took in and never answered", unexplained)
