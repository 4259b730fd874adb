"""What Prometheus is told of the finance view.

Owns: the figures' names, and the statements of those that stand in the tables. Must not know: when anything is applied.

How old the view is stands in its tables, so it is told by the serving process too: also while no feed runs.
"""

from __future__ import annotations

from sqlalchemy import text

from finance_service.domain import DATABASES
from finance_service.handlers import Applied
from shared.metrics import SIZES, counter, gauge, histogram
from shared.table_figures import TableFigure

ACTIVE = gauge("ordersaga_finance_feed_active", "1 while this feed is the elected one, 0 while it stands by")
INTERRUPTIONS = counter("ordersaga_finance_feed_interruptions", "Times the feed lost its broker or its database")
LOSSES = counter("ordersaga_finance_losses", "Times the stream had dropped changes that were not read")
_OFFSET = gauge("ordersaga_finance_stream_offset", "Where this feed reads on in the stream")
_CHANGES = counter("ordersaga_finance_changes", "Changed rows that were told of, once per row and batch", ("table",))
_ROWS = counter("ordersaga_finance_rows_applied", "Of these, rows that were not further on already", ("table",))
_UNREADABLE = counter("ordersaga_finance_changes_unreadable", "Messages that were left out: not changes, or refused")
_SIZES = histogram("ordersaga_finance_batch_messages", "Messages of the stream applied together", buckets=SIZES)
_SECONDS = histogram("ordersaga_finance_batch_seconds", "One transaction of the feed")

_DATABASES = ", ".join(f"('{name}')" for name in DATABASES)
# Of a database that was never heard of there is no age; -1 would look young.
_STALENESS = text(f"""
select d.name, coalesce(extract(epoch from greatest(now() - s.as_of, interval '0')), cast('infinity' as float8))
from (values {_DATABASES}) as d(name) left join sources s on s.database = d.name
""")  # noqa: S608 -- names of our own

FIGURES = (
    TableFigure(
        name="ordersaga_finance_staleness_seconds",
        words="How old what the finance view knows of a database is; infinite: nothing is known",
        statement=_STALENESS,
        labels=("database",),
    ),
    TableFigure(
        name="ordersaga_finance_position",
        words="Where reading of a stream goes on, as the database has it",
        statement=text("select stream, next_offset from positions"),
        labels=("stream",),
    ),
)


def count(applied: Applied, seconds: float, size: int) -> None:
    """Once it has committed."""
    _SIZES.observe(size)
    _SECONDS.observe(seconds)
    _OFFSET.set(applied.place.next_offset)
    _UNREADABLE.inc(applied.unreadable)
    for table, number in applied.changes.items():
        _CHANGES.labels(table).inc(number)
    for table, number in applied.rows.items():
        _ROWS.labels(table).inc(number)
