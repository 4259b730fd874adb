"""What Prometheus is told of stock and reservations.

Owns: the figures' names, and the statements of those that stand in the tables. Must not know: when anything is saved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import text

from shared.metrics import counter
from shared.table_figures import COUNTED_TO, TableFigure

RESERVATIONS = counter("ordersaga_reservations", "Reservations that were made, refused or ended, by how", ("outcome",))

_STOCK_ASKED_EVERY_S = 30.0
_HELD = text(f"""
select count(*)
from (select 1 from reservations where status = 'RESERVED' and wake_at is not null limit {COUNTED_TO}) as held
""")  # noqa: S608
_OVERDUE = text(f"""
select count(*)
from (select 1 from reservations
      where status = 'RESERVED' and wake_at < now() - interval '30 seconds' limit {COUNTED_TO}) as late
""")  # noqa: S608
_UNITS = text("""
select unnest(array['on_hand', 'reserved']), unnest(array[coalesce(sum(on_hand), 0), coalesce(sum(reserved), 0)])
from stock
""")
_OVERSOLD = text("select count(*) from stock where reserved > on_hand or reserved < 0")

FIGURES = (
    TableFigure(
        name="ordersaga_reservations_held",
        words=f"Reservations that wait for their payment or their expiry (counted to {COUNTED_TO})",
        statement=_HELD,
    ),
    TableFigure(
        name="ordersaga_reservations_overdue",
        words="Reservations that the timer should have looked at half a minute ago or more",
        statement=_OVERDUE,
    ),
    TableFigure(
        name="ordersaga_stock_units",
        words="Units of all items together, on hand and of these reserved",
        statement=_UNITS,
        labels=("state",),
        every_s=_STOCK_ASKED_EVERY_S,
    ),
    TableFigure(
        name="ordersaga_stock_oversold_items",
        words="Items with more reserved than on hand: a constraint forbids it, so this is 0 or something is broken",
        statement=_OVERSOLD,
        every_s=_STOCK_ASKED_EVERY_S,
    ),
)


def count_saved(outcomes: Iterable[str]) -> None:
    for outcome, times in Counter(outcomes).items():
        RESERVATIONS.labels(outcome).inc(times)
