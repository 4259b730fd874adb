"""What Prometheus is told of orders.

Owns: the figures' names, and the statements of those that stand in the tables. Must not know: when anything is saved.

A million finished orders must not make a scrape slow: finished ones are told by counters, and what is counted in the
tables stands in small indexes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from order_service.states import Flag, Order, OrderStatus
from shared.metrics import BulkHistogram, counter
from shared.table_figures import COUNTED_TO, TableFigure

_DURATIONS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86_400)
_ENDS = ((OrderStatus.CONFIRMED, "confirmed"), (OrderStatus.FULFILLED, "fulfilled"))
_UUIDV7 = 7

REACHED = counter("ordersaga_orders_reached_status", "Orders that came to a status", ("status", "reason"))
SAGA_SECONDS = BulkHistogram(
    "ordersaga_saga_seconds",
    "From an order's placing until it was confirmed, was fulfilled, or was cancelled with all undone",
    "outcome",
    buckets=_DURATIONS_S,
)

UNFINISHED = text(f"""
select 'PENDING', count(*) from (select 1 from orders where status = 'PENDING' limit {COUNTED_TO}) as pending
union all
select 'RESERVED', count(*) from (select 1 from orders where status = 'RESERVED' limit {COUNTED_TO}) as reserved
union all
select 'CANCELLED', count(*)
from (select 1 from orders where status = 'CANCELLED' and settled_at is null limit {COUNTED_TO}) as cancelled
""")  # noqa: S608
FLAGGED = text(f"""
select known.flag, count(found.flag) from unnest(cast('{{{",".join(Flag)}}}' as text[])) as known(flag)
left join (select flag from orders where flag is not null limit {COUNTED_TO}) as found on found.flag = known.flag
group by known.flag
""")  # noqa: S608
OVERDUE = text(f"""
select count(*) from (select 1 from orders where wake_at < now() - interval '30 seconds' limit {COUNTED_TO}) as late
""")  # noqa: S608

FIGURES = (
    TableFigure(
        name="ordersaga_orders_unfinished",
        words=f"Orders under way; CANCELLED while something is still to be undone (each counted to {COUNTED_TO})",
        statement=UNFINISHED,
        labels=("status",),
    ),
    TableFigure(
        name="ordersaga_sagas_flagged",
        words="Orders that an operator should look at, by what is wrong",
        statement=FLAGGED,
        labels=("flag",),
    ),
    TableFigure(
        name="ordersaga_orders_overdue",
        words="Orders that the timer should have looked at half a minute ago or more",
        statement=OVERDUE,
    ),
)


def count_saved(history: Sequence[Mapping[str, Any]], orders: Iterable[Order], now: datetime) -> None:
    """What a batch made of its orders: the rows of their history, and the orders as they are now."""
    for (status, reason), times in Counter((row["status"], row["reason"] or "") for row in history).items():
        REACHED.labels(status, reason).inc(times)
    for status, outcome in _ENDS:
        SAGA_SECONDS.observe(outcome, _ages([row["order_id"] for row in history if row["status"] is status], now))
    settled = [o.id for o in orders if o.settled_at == now and o.status is OrderStatus.CANCELLED]
    SAGA_SECONDS.observe("cancelled", _ages(settled, now))


def _ages(order_ids: Sequence[UUID], now: datetime) -> list[float]:
    """An order's id holds the millisecond in which it was placed: nothing more need be read."""
    now_ms = now.timestamp() * 1000
    return [max(now_ms - (id_.int >> 80), 0.0) / 1000 for id_ in order_ids if (id_.int >> 76) & 0xF == _UUIDV7]
