"""How many orders began and ended in each second, told by the database itself.

Owns: the two series behind the plots of throughput over time. Must not know: who placed the orders.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ops.books import Books

_SERIES = """
select coalesce(p.second, e.second), coalesce(p.orders, 0), coalesce(e.orders, 0)
from (select floor(extract(epoch from created_at - %s))::int as second, count(*) as orders
      from orders where created_at >= %s group by 1) p
full join (select floor(extract(epoch from h.at - %s))::int as second, count(*) as orders
      from order_status_history h join orders o on o.id = h.order_id
      where o.created_at >= %s and h.status in ('CONFIRMED', 'CANCELLED') group by 1) e
  on p.second = e.second
order by 1
"""


def per_second(books: Books, since: datetime) -> dict[str, Any]:
    """Placed and ended orders per second, of those placed since then."""
    rows = books.rows("order", _SERIES, (since,) * _SERIES.count("%s"))
    return {"second": [r[0] for r in rows], "placed": [r[1] for r in rows], "ended": [r[2] for r in rows]}
