"""Two transactions of the inventory service open at once: one waits or passes by, and stock moves once.

The handlers are real and so is the database; no process runs, so that the test alone decides who comes when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest
from harness.databases import Databases
from harness.waiting import DEADLINE_S, wait_until
from nameko_sqlalchemy.database import Session as NamekoSession
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

from inventory_service import catalogue, handlers, requests, reservation_requests
from inventory_service.domain import Rules
from inventory_service.happenings import (
    Happening,
    OrderCancelled,
    OrderCreated,
    OrderFulfilled,
    OrderReturned,
    PaymentTaken,
)
from inventory_service.schemas import Adjustment, NewProduct
from inventory_service.settings import Settings
from inventory_service.states import Line, Terms
from shared.database import SessionFactory, Transaction, translated_errors
from shared.envelope import Received, caused_by
from shared.errors import (
    BrokenRule,
    Conflict,
    IdempotencyKeyInProgress,
    OutOfStock,
    PreconditionFailed,
    ReservationExists,
    ReservationNotHeld,
)
from shared.identity import TRUSTED

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("clean")]

SERVICE = "inventory_service"
ITEM = "mug"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TTL = timedelta(minutes=30)
PAST = NOW + TTL
SETTINGS = Settings(rules=Rules(reservation_ttl=TTL, manual_payment_ttl=TTL))
WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
Work: TypeAlias = Callable[[Transaction], Any]


class _Failed(Exception):
    """Ends a transaction without its commit."""


class Races:
    """Transactions of the test's own, at a moment of its choice."""

    def __init__(self, engine: Engine, databases: Databases) -> None:
        self._engine, self._databases = engine, databases

    @contextmanager
    def open(self, now: datetime = NOW) -> Iterator[Transaction]:
        with translated_errors(), Session(self._engine) as session, session.begin():
            tx = Transaction(session, now)
            yield tx
            tx.flush()

    def run(self, work: Work, now: datetime = NOW) -> Any:
        with self.open(now) as tx:
            return work(tx)

    def second_waits(self, first: Work, second: Work, now: datetime = NOW, *, first_fails: bool = False) -> Future[Any]:
        """The second one's outcome; it began while the first was open and went on when that had ended."""
        with ThreadPoolExecutor(1) as pool:
            with suppress(_Failed), self.open(now) as tx:
                first(tx)
                tx.flush()
                outcome = pool.submit(self.run, second, now)
                wait_until(lambda: self._waiting() or outcome.done(), "the second one waits")
                assert not outcome.done(), outcome.result()
                if first_fails:
                    raise _Failed
            outcome.exception(DEADLINE_S)
        return outcome

    def second_passes(self, first: Work, second: Work, now: datetime = NOW) -> Any:
        """What the second one returned while the first was still open."""
        with self.open(now) as tx:
            first(tx)
            return self.run(second, now)

    def _waiting(self) -> bool:
        return bool(self._databases.value(SERVICE, WAITING))


@pytest.fixture(scope="module")
def engine(stack_environment: Mapping[str, str], empty_stack: None) -> Iterator[Engine]:
    engine = create_engine(stack_environment["INVENTORY_DATABASE_URL"])
    yield engine
    engine.dispose()


@pytest.fixture
def races(engine: Engine, databases: Databases, clean: None) -> Races:
    """With two units of one item on the shelf."""
    races = Races(engine, databases)
    product = NewProduct(item=ITEM, name="Mug", seller_id="s", price=Decimal(10), currency="EUR", on_hand=2)
    races.run(lambda tx: catalogue.create_product(tx, product, None))
    return races


@pytest.fixture(autouse=True)
def _movements_explain_the_stock(databases: Databases, races: Races) -> Iterator[None]:
    yield
    moved = "select sum(delta_on_hand), sum(delta_reserved) from stock_movements where item = %s"
    held = """select coalesce(sum(quantity), 0) from reservations join order_lines using (order_id)
              where status = 'RESERVED'"""
    [(on_hand, reserved)] = databases.query(SERVICE, "select on_hand, reserved from stock")
    assert databases.query(SERVICE, moved, ITEM) == [(on_hand, reserved)]
    assert databases.value(SERVICE, held) == reserved


def _tell(*events: Happening) -> Work:
    types = {OrderCreated: "ORDER_CREATED", PaymentTaken: "PAYMENT_SUCCESS"}

    def work(tx: Transaction) -> None:
        received = [
            Received(
                envelope=caused_by(None, type=types.get(type(e), "ORDER"), source="order_service", now=tx.now),
                payload={},
                body=e,
            )
            for e in events
        ]
        handlers.apply_events(tx, received, SETTINGS)

    return work


def _created(order_id: UUID, quantity: int = 1) -> OrderCreated:
    terms = Terms(user_id="ann", price=Decimal(10), currency="EUR", payment_mode="auto", payment_method=None)
    return OrderCreated(order_id=order_id, lines=(Line(item=ITEM, quantity=quantity),), terms=terms)


def _returned(order_id: UUID) -> OrderReturned:
    return OrderReturned(order_id=order_id, return_id=uuid4(), lines=(Line(item=ITEM, quantity=1),), restock=True)


def _five_held(races: Races) -> list[UUID]:
    """Orders that are past their expiry by the database's own clock, the last of them for longest."""
    more = Adjustment(item=ITEM, delta=3, reason="delivery")
    races.run(lambda tx: catalogue.adjust_stock(tx, more, None))
    orders = sorted(uuid4() for _ in range(5))
    for age, order_id in enumerate(orders):
        races.run(_tell(_created(order_id)), NOW - timedelta(hours=age))
    return orders


def _sessions(engine: Engine) -> SessionFactory:
    return SessionFactory(sessionmaker(bind=engine, class_=NamekoSession))


def _wake(tx: Transaction) -> int:
    return handlers.wake_reservations(tx, SETTINGS)


def _hold(quantity: int = 1, key: str | None = None, **more: Any) -> Work:
    wanted = {"items": [{"item": ITEM, "quantity": quantity}], **more}
    return lambda tx: reservation_requests.reserve_stock(tx, TRUSTED, wanted, key, None, SETTINGS)["reservation"]["id"]


def _release(hold_id: str) -> Work:
    return lambda tx: reservation_requests.release_reservation(tx, TRUSTED, hold_id, None, None, SETTINGS)


def _commit(hold_id: str) -> Work:
    return lambda tx: reservation_requests.commit_reservation(tx, TRUSTED, hold_id, None, None, SETTINGS)


@pytest.fixture
def order_id(races: Races) -> UUID:
    """An order whose reservation is held."""
    order_id = uuid4()
    races.run(_tell(_created(order_id)))
    return order_id


class Books:
    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    def stock(self) -> tuple[Any, ...]:
        return self._databases.query(SERVICE, "select on_hand, reserved from stock")[0]

    def holding(self, id_: UUID | str) -> tuple[Any, ...]:
        """(status, generation)."""
        statement = "select status, generation from sagas where order_id = %s"
        return self._databases.query(SERVICE, statement, str(id_))[0]

    def events(self, id_: UUID) -> list[str]:
        statement = "select event_type from outbox where aggregate_id = %s order by id"
        return [row[0].removeprefix("INVENTORY_") for row in self._databases.query(SERVICE, statement, str(id_))]

    def kinds(self) -> list[str]:
        return [row[0] for row in self._databases.query(SERVICE, "select kind from stock_movements order by id")]


@pytest.fixture
def books(databases: Databases) -> Books:
    return Books(databases)


class TestReserveAndCancel:
    def test_a_cancellation_that_meets_an_open_reservation_releases_it(self, races: Races, books: Books) -> None:
        order_id = uuid4()
        races.second_waits(_tell(_created(order_id)), _tell(OrderCancelled(order_id=order_id))).result()
        assert books.events(order_id) == ["RESERVED", "REFUNDED"]
        assert (books.holding(order_id), books.stock()) == (("RELEASED", 1), (2, 0))

    def test_a_reservation_that_meets_an_open_cancellation_finds_the_tombstone(
        self, races: Races, books: Books
    ) -> None:
        order_id = uuid4()
        races.second_waits(_tell(OrderCancelled(order_id=order_id)), _tell(_created(order_id))).result()
        assert books.events(order_id) == ["REFUNDED"]
        assert (books.holding(order_id), books.stock()) == (("RELEASED", 0), (2, 0))


class TestExpireAndPay:
    def test_paid_while_it_is_being_released_it_is_held_again(self, races: Races, books: Books, order_id: UUID) -> None:
        races.second_waits(_wake, _tell(PaymentTaken(order_id=order_id)), PAST).result()
        assert books.events(order_id) == ["RESERVED", "REFUNDED", "RESERVED"]
        assert (books.holding(order_id), books.stock()) == (("HELD", 2), (2, 1))

    def test_due_while_it_is_being_paid_it_is_passed_by(self, races: Races, books: Books, order_id: UUID) -> None:
        assert races.second_passes(_tell(PaymentTaken(order_id=order_id)), _wake, PAST) == 0
        assert races.run(_wake, PAST + TTL) == 0
        assert books.events(order_id) == ["RESERVED"]
        assert (books.holding(order_id), books.stock()) == (("HELD", 1), (2, 1))

    def test_paid_just_after_the_timer_looked_it_stays_held(self, races: Races, books: Books, order_id: UUID) -> None:
        """Given a timer that found the reservation due, when the payment commits first, then it does not expire."""
        with races.open(PAST) as timer:
            races.run(_tell(PaymentTaken(order_id=order_id)), PAST)
            assert _wake(timer) == 0
        assert (books.holding(order_id), books.stock()) == (("HELD", 1), (2, 1))

    def test_half_of_its_life_passes_while_it_is_being_paid(self, races: Races, books: Books, order_id: UUID) -> None:
        half = NOW + TTL / 2
        assert races.second_passes(_tell(PaymentTaken(order_id=order_id)), _wake, half) == 0
        assert races.run(_wake, half) == 0
        assert books.events(order_id) == ["RESERVED"]


class TestFulfilAndCancel:
    def test_cancelled_while_it_is_being_shipped_it_is_gone(self, races: Races, books: Books, order_id: UUID) -> None:
        shipped, cancelled = _tell(OrderFulfilled(order_id=order_id)), _tell(OrderCancelled(order_id=order_id))
        races.second_waits(shipped, cancelled).result()
        assert books.events(order_id) == ["RESERVED", "COMMITTED"]
        assert (books.holding(order_id), books.stock()) == (("COMMITTED", 1), (1, 0))

    def test_shipped_while_it_is_being_cancelled_it_stays(self, races: Races, books: Books, order_id: UUID) -> None:
        shipped, cancelled = _tell(OrderFulfilled(order_id=order_id)), _tell(OrderCancelled(order_id=order_id))
        races.second_waits(cancelled, shipped).result()
        assert books.events(order_id) == ["RESERVED", "REFUNDED"]
        assert (books.holding(order_id), books.stock()) == (("RELEASED", 1), (2, 0))

    def test_shipped_while_it_is_expiring_it_is_held_again_and_leaves(
        self, races: Races, books: Books, order_id: UUID
    ) -> None:
        races.second_waits(_wake, _tell(OrderFulfilled(order_id=order_id)), PAST).result()
        assert books.events(order_id) == ["RESERVED", "REFUNDED", "COMMITTED"]
        assert (books.holding(order_id), books.stock()) == (("COMMITTED", 2), (1, 0))

    def test_shipped_by_two_at_once_it_leaves_once(self, races: Races, books: Books, order_id: UUID) -> None:
        shipped = _tell(OrderFulfilled(order_id=order_id))
        races.second_waits(shipped, shipped).result()
        assert (books.events(order_id), books.stock()) == (["RESERVED", "COMMITTED"], (1, 0))

    def test_two_returns_of_the_same_unit_at_once_bring_back_one(
        self, races: Races, books: Books, order_id: UUID
    ) -> None:
        races.run(_tell(OrderFulfilled(order_id=order_id)))
        outcome = races.second_waits(_tell(_returned(order_id)), _tell(_returned(order_id)))
        assert isinstance(outcome.exception(), BrokenRule)
        assert books.stock() == (2, 0)


class TestTimers:
    def test_two_at_once_release_each_reservation_once(self, races: Races, books: Books, order_id: UUID) -> None:
        assert races.second_passes(lambda tx: _wake(tx) == 1 or pytest.fail("nothing was due"), _wake, PAST) == 0
        assert races.run(_wake, PAST) == 0
        assert books.events(order_id) == ["RESERVED", "REFUNDED"]
        assert (books.holding(order_id), books.stock()) == (("EXPIRED", 1), (2, 0))

    def test_one_takes_what_the_other_has_not_locked(self, races: Races, books: Books, order_id: UUID) -> None:
        another = uuid4()
        races.run(_tell(_created(another)))
        with races.open(PAST) as first:
            handlers.queries.holdings_for_update(first, [order_id])
            assert races.run(_wake, PAST) == 1
        assert races.run(_wake, PAST) == 1
        assert (books.holding(order_id), books.holding(another)) == (("EXPIRED", 1), ("EXPIRED", 1))
        assert books.stock() == (2, 0)

    def test_two_at_once_say_a_reservation_again_once(self, races: Races, books: Books, order_id: UUID) -> None:
        half = NOW + TTL / 2
        assert races.second_passes(_wake, _wake, half) == 0
        assert races.run(_wake, half) == 0
        assert books.events(order_id) == ["RESERVED", "RESERVED"]
        assert races.run(_wake, PAST) == 1

    def test_a_backlog_is_done_in_one_tick(
        self, races: Races, books: Books, monkeypatch: pytest.MonkeyPatch, engine: Engine
    ) -> None:
        """Given five that are due and batches of two, then all are released."""
        monkeypatch.setattr(handlers, "DUE_AT_ONCE", 2)
        orders = _five_held(races)
        handlers.wake_all_reservations(_sessions(engine), SETTINGS)
        assert {books.holding(order_id) for order_id in orders} == {("EXPIRED", 1)}
        assert books.stock() == (5, 0)

    def test_a_tick_comes_to_its_end_having_released_what_was_due_longest(
        self, races: Races, books: Books, monkeypatch: pytest.MonkeyPatch, engine: Engine
    ) -> None:
        monkeypatch.setattr(handlers, "DUE_AT_ONCE", 2)
        monkeypatch.setattr(handlers, "MOST_ROUNDS", 2)
        orders = _five_held(races)
        handlers.wake_all_reservations(_sessions(engine), SETTINGS)
        assert [books.holding(order_id) for order_id in orders] == [("HELD", 1)] + [("EXPIRED", 1)] * 4
        handlers.wake_all_reservations(_sessions(engine), SETTINGS)
        assert books.stock() == (5, 0)

    def test_one_that_comes_long_after_the_expiry_only_releases(
        self, races: Races, books: Books, order_id: UUID
    ) -> None:
        assert races.run(_wake, PAST + TTL) == 1
        assert books.events(order_id) == ["RESERVED", "REFUNDED"]

    def test_a_reservation_made_before_this_version_only_expires(
        self, races: Races, books: Books, databases: Databases, order_id: UUID
    ) -> None:
        """Given no event id in its row, then it is not said again."""
        databases.query(SERVICE, "update reservations set event_id = null, causation_id = null")
        assert races.run(_wake, NOW + TTL / 2) == 1
        assert races.run(_wake, PAST) == 1
        assert books.events(order_id) == ["RESERVED", "REFUNDED"]


class TestHolds:
    def test_the_last_units_are_held_once(self, races: Races, books: Books) -> None:
        outcome = races.second_waits(_hold(2), _hold(1))
        assert isinstance(outcome.exception(), OutOfStock)
        assert (books.stock(), books.kinds()) == ((2, 2), ["initial", "reserved"])

    def test_what_is_not_held_after_all_the_other_one_gets(self, races: Races, books: Books) -> None:
        """Given a first one that ends without its commit, then units and reference are free."""
        one = _hold(2, reference="till 4")
        hold_id = races.second_waits(one, one, first_fails=True).result()
        assert (books.holding(hold_id), books.stock()) == (("HELD", 1), (2, 2))

    def test_a_hold_and_an_order_never_have_the_same_unit(self, races: Races, books: Books) -> None:
        order_id = uuid4()
        races.second_waits(_hold(2), _tell(_created(order_id))).result()
        assert (books.events(order_id), books.stock()) == (["REJECTED"], (2, 2))

    def test_a_reference_is_one_hold(self, races: Races, books: Books) -> None:
        outcome = races.second_waits(_hold(reference="till 4"), _hold(reference="till 4"))
        assert isinstance(outcome.exception(), ReservationExists)
        assert books.stock() == (2, 1)

    def test_a_key_that_is_still_at_work_is_told_apart_at_once(self, races: Races, books: Books) -> None:
        with pytest.raises(IdempotencyKeyInProgress):
            races.second_passes(_hold(key="k1"), _hold(key="k1"))
        assert books.stock() == (2, 0)

    @pytest.mark.parametrize(("first", "stock"), [(_release, (2, 0)), (_commit, (1, 0))], ids=["release", "commit"])
    @pytest.mark.parametrize("second", [_release, _commit], ids=["release", "commit"])
    def test_a_hold_ends_once(
        self, races: Races, books: Books, first: Any, stock: tuple[int, int], second: Any
    ) -> None:
        hold_id = races.run(_hold())
        outcome = races.second_waits(first(hold_id), second(hold_id))
        assert isinstance(outcome.exception(), ReservationNotHeld)
        assert books.stock() == stock

    def test_committed_while_it_expires_it_has_ended(self, races: Races, books: Books) -> None:
        hold_id = races.run(_hold())
        outcome = races.second_waits(_wake, _commit(hold_id), PAST)
        assert isinstance(outcome.exception(), ReservationNotHeld)
        assert (books.holding(hold_id), books.stock()) == (("EXPIRED", 1), (2, 0))

    def test_due_while_it_is_committed_it_is_passed_by(self, races: Races, books: Books) -> None:
        hold_id = races.run(_hold())
        assert races.second_passes(_commit(hold_id), _wake, PAST) == 0
        assert (books.holding(hold_id), books.stock()) == (("COMMITTED", 1), (1, 0))

    def test_what_is_held_is_not_adjusted_away(self, races: Races, books: Books) -> None:
        less = Adjustment(item=ITEM, delta=-1, reason="broken")
        outcome = races.second_waits(_hold(2), lambda tx: catalogue.adjust_stock(tx, less, None))
        assert isinstance(outcome.exception(), Conflict)
        assert books.stock() == (2, 2)


class TestProducts:
    def _change(self, versions: list[int] | None, **changes: Any) -> Work:
        return lambda tx: requests.update_product(tx, TRUSTED, ITEM, changes, versions, None)

    def _told(self, databases: Databases) -> list[tuple[Any, ...]]:
        statement = """select payload ->> 'version', payload ->> 'name', payload ->> 'price' from outbox
                       where event_type = 'PRODUCT_UPDATED' order by id"""
        return databases.query(SERVICE, statement)

    def test_two_who_saw_the_same_version_change_it_once(self, races: Races, databases: Databases) -> None:
        """Given two changes of version 1 at once, then the second one hears that it has changed."""
        outcome = races.second_waits(self._change([1], name="Cup"), self._change([1], price="12.00"))
        error = outcome.exception()
        assert isinstance(error, PreconditionFailed)
        assert error.details == {"version": 2}
        assert self._told(databases) == [("1", "Mug", "10.00"), ("2", "Cup", "10.00")]

    def test_two_who_take_whatever_it_is_lose_neither_change(self, races: Races, databases: Databases) -> None:
        changed = races.second_waits(self._change(None, name="Cup"), self._change(None, price="12.00")).result()
        assert (changed["version"], changed["name"], changed["price"]) == (3, "Cup", "12.00")
        assert self._told(databases)[1:] == [("2", "Cup", "10.00"), ("3", "Cup", "12.00")]

    def test_what_was_not_changed_after_all_leaves_the_version(self, races: Races, databases: Databases) -> None:
        first, second = self._change([1], name="Cup"), self._change([1], price="12.00")
        changed = races.second_waits(first, second, first_fails=True).result()
        assert (changed["version"], changed["name"]) == (2, "Mug")

    def test_a_change_keeps_no_order_waiting(self, races: Races, books: Books) -> None:
        order_id = uuid4()
        races.second_passes(self._change([1], active=False), _tell(_created(order_id)))
        assert books.events(order_id) == ["RESERVED"]


class TestMigration:
    def test_what_was_reserved_before_still_expires(self, databases: Databases) -> None:
        """Given rows of the first version, then the second one gives the timer its next look at them."""
        versions = "inventory_service.migrations.versions"
        first, second = (import_module(f"{versions}.{name}") for name in ("0001_first", "0002_all_flows"))
        with databases.transaction(SERVICE) as cursor:
            cursor.execute("create schema before; set local search_path to before")
            cursor.execute(first.TABLES)
            for status, expires_at in (("RESERVED", NOW), ("RESERVED", None), ("EXPIRED", NOW)):
                order_id = str(uuid4())
                cursor.execute("insert into sagas values (%s, 'HELD', 1, false)", (order_id,))
                row = (order_id, status, expires_at, NOW)
                cursor.execute("insert into reservations values (%s, 1, %s, %s, %s)", row)
            cursor.execute(second.CHANGES)
            cursor.execute("select status, expires_at, wake_at from reservations order by status desc, wake_at")
            assert cursor.fetchall() == [("RESERVED", NOW, NOW), ("RESERVED", None, None), ("EXPIRED", NOW, None)]
            cursor.execute("select distinct manual, reference from sagas")
            assert cursor.fetchall() == [(False, None)]
