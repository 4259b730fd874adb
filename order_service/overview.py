"""How it goes just now, for operators: orders of the last half hour minute by minute, and what stands still.

Owns: the statements, and what is counted exactly and what is only looked at. Must not know: Nameko, HTTP, charts.

A million orders must not make it slow: an order's id holds the millisecond in which it was placed, so a minute is a
range of the primary key, counted to COUNTED_TO; how orders went is read of the newest LOOKED_AT of each minute.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from order_service.access import refuse_all_but_operators
from order_service.figures import FLAGGED, OVERDUE, UNFINISHED
from shared.database import Transaction, rows_json
from shared.event_schema import moment_text
from shared.identity import Identity
from shared.table_figures import COUNTED_TO

MINUTES = 30
LOOKED_AT = 100

_MINUTE = "json_to_recordset(cast(:rows as json)) as m(number int, first uuid, next uuid)"
_PLACED = text(f"""
select m.number, counted.placed from {_MINUTE}
cross join lateral (
    select count(*) as placed from (
        select 1 from orders where id >= m.first and id < m.next limit {COUNTED_TO}) as few) as counted
order by m.number
""")  # noqa: S608
# The last row, without a number, is about all minutes together.
_WENT = text(f"""
select m.number,
       count(*) filter (where o.status in ('CONFIRMED', 'FULFILLED')) as well,
       count(*) filter (where o.status = 'CANCELLED') as cancelled,
       count(*) filter (where o.status in ('PENDING', 'RESERVED')) as under_way,
       percentile_cont(0.5) within group (order by o.took_s) as median_s,
       percentile_cont(0.95) within group (order by o.took_s) as slow_s
from {_MINUTE}
cross join lateral (
    select status, (
        select extract(epoch from min(h.at) - placed.created_at) from order_status_history h
        where h.order_id = placed.id and h.status = 'CONFIRMED') as took_s
    from orders placed where id >= m.first and id < m.next order by id desc limit {LOOKED_AT}) as o
group by grouping sets ((m.number), ())
""")  # noqa: S608


def overview(tx: Transaction, caller: Identity) -> dict[str, Any]:
    """{"asOf", "minutes": oldest first, "total", "unfinished", "flagged", "overdue"}. Raises Forbidden."""
    refuse_all_but_operators(caller)
    begin = tx.now.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)
    starts = [begin + timedelta(minutes=number) for number in range(MINUTES)]
    rows = rows_json([_range(number, start) for number, start in enumerate(starts)])
    placed = [row.placed for row in tx.fetch(_PLACED, rows=rows)]
    went = {row.number: row for row in tx.fetch(_WENT, rows=rows)}
    minutes = [
        {"at": moment_text(start), "placed": placed[number], **_went(went.get(number))}
        for number, start in enumerate(starts)
    ]
    return {
        "asOf": moment_text(tx.now),
        "minutes": minutes,
        "total": {"placed": sum(placed), **_went(went.get(None))},
        "unfinished": {row[0]: row[1] for row in tx.fetch(UNFINISHED)},
        "flagged": {row[0]: row[1] for row in tx.fetch(FLAGGED)},
        "overdue": tx.fetch(OVERDUE)[0][0],
    }


def _range(number: int, start: datetime) -> dict[str, Any]:
    return {"number": number, "first": _first_id(start), "next": _first_id(start + timedelta(minutes=1))}


def _first_id(moment: datetime) -> str:
    return str(UUID(int=int(moment.timestamp() * 1000) << 80))


def _went(row: Any) -> dict[str, Any]:
    """Of those that were looked at; seconds are from placing until it was confirmed."""
    if row is None:
        return {"well": 0, "cancelled": 0, "underWay": 0, "medianS": None, "slowS": None}
    return {
        "well": row.well,
        "cancelled": row.cancelled,
        "underWay": row.under_way,
        "medianS": _seconds(row.median_s),
        "slowS": _seconds(row.slow_s),
    }


def _seconds(value: Any) -> float | None:
    """None where none was confirmed."""
    return None if value is None else round(max(float(value), 0.0), 3)
