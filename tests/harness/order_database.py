"""The order service's functions on its real database, without its process: the test holds the transactions.

Owns: transactions on connections of their own, a second one that waits for the first, short looks at the tables.
Must not know: what any single test promises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from nameko_sqlalchemy.database import Session
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from harness.databases import Databases
from harness.waiting import wait_until
from order_service import handlers, placing, queries, requests
from order_service.happenings import PaymentTaken, StockReserved, Told
from order_service.placing import Outcome, Placed
from order_service.pricing import Product
from order_service.schemas import PriceListEntry
from order_service.settings import Settings
from shared.config import Source
from shared.database import SessionFactory, Transaction, transaction
from shared.envelope import Received, caused_by
from shared.identity import TRUSTED, Identity

SETTINGS = Settings.read(Source(values={}))
WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
Work = Callable[[Transaction], Any]


class _RolledBack(Exception):
    pass


class OrderDatabase:
    """Transactions of the order service, each on a connection of its own."""

    def __init__(self, sessions: SessionFactory, databases: Databases, pool: ThreadPoolExecutor) -> None:
        self.sessions, self._databases, self._pool = sessions, databases, pool

    def run(self, work: Work, *, later: timedelta = timedelta(0)) -> Any:
        with transaction(self.sessions) as tx:
            tx.happens_at(tx.now + later)
            return work(tx)

    def blocked(self, work: Work) -> Future[Any]:
        """``work`` in another transaction, which now waits for a lock."""
        future = self._pool.submit(self.run, work)
        wait_until(lambda: self.query(WAITING)[0][0] > 0 or future.done(), "the second transaction waits")
        assert not future.done()
        return future

    @contextmanager
    def rolled_back(self) -> Iterator[Transaction]:
        """A transaction that comes to nothing at the end of the block."""
        with suppress(_RolledBack), transaction(self.sessions) as tx:
            yield tx
            tx.flush()
            raise _RolledBack

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._databases.query("order_service", statement, *parameters)

    def events(self, order_id: UUID) -> list[str]:
        return [
            row[0]
            for row in self.query("select event_type from order_events where order_id = %s order by id", str(order_id))
        ]

    def emitted(self, order_id: UUID) -> list[str]:
        statement = "select event_type from outbox where aggregate_id = %s order by id"
        return [row[0] for row in self.query(statement, str(order_id))]

    def status(self, order_id: UUID) -> tuple[str, str | None]:
        [[status, reason]] = self.query("select status, reason from orders where id = %s", str(order_id))
        return status, reason

    def sell(self, item: str, seller_id: str = "shop", *, price: str = "10.00", version: int = 1, **facts: Any) -> None:
        """``item`` is in the price list; ``facts`` are currency, active, requires_approval."""
        said = {"currency": "EUR", "active": True, "requires_approval": False, **facts}
        product = Product(item=item, seller_id=seller_id, price=Decimal(price), **said)
        entry = PriceListEntry(product=product, version=version, name=item.title())
        self.run(lambda tx: queries.upsert_products(tx, [entry]))

    def place(self, user_id: str, *items: str, caller: Identity = TRUSTED, **said: Any) -> UUID:
        """An order for one of each of ``items``."""
        correlation_id = said.pop("correlation_id", None)
        order = {"userId": user_id, "items": [{"item": item, "quantity": 1} for item in items], **said}
        [placed] = self.run(placing_of((caller, order), correlation_id=correlation_id))
        assert isinstance(placed, Placed), placed
        return UUID(placed.summary["id"])

    def confirm(self, order_id: UUID) -> None:
        reserved = StockReserved(order_id=order_id, generation=1, expires_at=None)
        self.run(telling(reserved, PaymentTaken(order_id=order_id)))


def placing_of(
    *orders: tuple[Identity, dict[str, Any]], key: str | None = None, correlation_id: str | None = None
) -> Callable[[Transaction], list[Outcome]]:
    """All of ``orders`` in one transaction."""
    read = [requests.read_request(caller, order, key, correlation_id) for caller, order in orders]
    return lambda tx: placing.place_orders(tx, read, SETTINGS)


def telling(*happenings: Told) -> Work:
    """What the other services told, as events of one batch."""

    def work(tx: Transaction) -> None:
        envelopes = [caused_by(None, type="TOLD", source="test", now=tx.now) for _ in happenings]
        events = [Received(envelope=e, payload={}, body=h) for e, h in zip(envelopes, happenings, strict=True)]
        handlers.apply_events(tx, events, SETTINGS)

    return work


@contextmanager
def open_orders(environment: Mapping[str, str], databases: Databases) -> Iterator[OrderDatabase]:
    engine = create_engine(environment["ORDER_DATABASE_URL"])
    with ThreadPoolExecutor(4) as pool:
        yield OrderDatabase(SessionFactory(sessionmaker(bind=engine, class_=Session)), databases, pool)
    engine.dispose()
