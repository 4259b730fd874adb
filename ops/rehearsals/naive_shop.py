"""Owns: a shop as it is often built first: a hold is a row that lapses by its time, a payment's success is a sale.

Must not know: OrderSaga's tables and services. It lives in temporary tables of one session, on a clock of its own, so
that its minutes take no time and nothing is left of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from ops.databases import driver_url

_TABLES = """
create temporary table naive_stock (item text primary key, on_hand integer not null);
create temporary table naive_holds (customer text primary key, item text not null, expires_at_s real not null);
create temporary table naive_sales (customer text primary key, item text not null);
"""
# "Available" is what is not held just now: exactly what a cache's or Cassandra's time to live makes of it.
_HOLD = """
insert into naive_holds (customer, item, expires_at_s)
select %(customer)s, s.item, %(now_s)s + %(ttl_s)s from naive_stock s
where s.item = %(item)s
  and s.on_hand > (select count(*) from naive_holds h where h.item = s.item and h.expires_at_s > %(now_s)s)
returning 1
"""
# The mistake: money has come, so it is sold. Whether anything is still held for it is not asked.
_SELL = """
with sold as (insert into naive_sales (customer, item) values (%(customer)s, %(item)s) returning item),
     gone as (delete from naive_holds where customer = %(customer)s)
update naive_stock set on_hand = on_hand - 1 where item in (select item from sold)
"""


class NaiveShop:
    """One item. Moments are seconds of its own clock."""

    def __init__(self, cursor: Any, *, item: str, units: int, ttl_s: float) -> None:
        self._cursor = cursor
        self._terms = {"item": item, "ttl_s": ttl_s}
        cursor.execute("insert into naive_stock (item, on_hand) values (%s, %s)", (item, units))

    def hold(self, customer: str, now_s: float) -> bool:
        """Whether a unit is kept for this customer until its time has passed."""
        self._cursor.execute(_HOLD, {**self._terms, "customer": customer, "now_s": now_s})
        return self._cursor.fetchone() is not None

    def paid(self, customer: str) -> None:
        """The provider says that the money has come."""
        self._cursor.execute(_SELL, {**self._terms, "customer": customer})

    @property
    def sold(self) -> int:
        return self._number("select count(*) from naive_sales where item = %(item)s")

    @property
    def on_hand(self) -> int:
        return self._number("select on_hand from naive_stock where item = %(item)s")

    def _number(self, statement: str) -> int:
        self._cursor.execute(statement, self._terms)
        return int(self._cursor.fetchone()[0])


@contextmanager
def naive_shop(database_url: str, *, item: str, units: int, ttl_s: float) -> Iterator[NaiveShop]:
    """``database_url``: of any database whose login may make temporary tables."""
    with closing(psycopg2.connect(driver_url(database_url), connect_timeout=5)) as session, session.cursor() as cursor:
        cursor.execute(_TABLES)
        yield NaiveShop(cursor, item=item, units=units, ttl_s=ttl_s)
