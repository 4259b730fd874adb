"""The finance view on a real stream: nothing twice, nothing left out, whatever dies, comes again or out of order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from harness.changes import Books
from harness.finance import FinanceHouse, Stream, finance_database
from harness.processes import Processes
from harness.waiting import wait_until
from sqlalchemy import create_engine

from finance_service.models import Base

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def database(stack_environment: Mapping[str, str]) -> str:
    return finance_database(stack_environment)


@pytest.fixture
def stream(stack_environment: Mapping[str, str]) -> Iterator[Stream]:
    stream = Stream(stack_environment["AMQP_URI"])
    yield stream
    stream.close()


@pytest.fixture
def house(database: str, stream: Stream, processes: Processes) -> Iterator[FinanceHouse]:
    house = FinanceHouse(database, stream, processes)
    yield house
    processes.stop()
    house.close()


@pytest.fixture
def books() -> Books:
    """Three orders: one whole, one partly given back, one cancelled with all its money back."""
    books = Books()
    books.sell("10.00")
    kept = books.sell("25.50", seller="smith")
    gone = books.sell("5.00")
    books.later(days=1)
    books.refund(kept, "5.50")
    books.order_becomes(gone, "CANCELLED")
    books.refund(gone, "5.00")
    return books


def test_models_and_migrations_agree(database: str) -> None:
    """Given a migrated database, then alembic finds nothing to change in it for the service's models."""
    engine = create_engine(database)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, Base.metadata) == []
    finally:
        engine.dispose()


def _as_they_are(books: Books) -> dict[str, int]:
    rows = {
        "orders": books.orders,
        "payments": books.payments,
        "refunds": books.refunds,
        "ledger_entries": books.entries,
    }
    return {table: len(found) for table, found in rows.items()}


def test_what_the_stream_tells_is_in_the_tables(house: FinanceHouse, books: Books) -> None:
    """Given a stream, when a feed has read it, then each row is as it was told last."""
    house.stream.publish(books.messages)
    house.feed()
    house.wait_read(len(books.messages))

    assert {table: len(rows) for table, rows in house.everything().items()} == _as_they_are(books)
    told = {str(row[0]): (row[2], f"{row[3]:.2f}") for row in house.rows("orders")}
    assert told == {str(id_): (order["status"], order["price"]) for id_, order in books.orders.items()}
    paid = {str(row[0]): (row[2], f"{row[5]:.2f}") for row in house.rows("payments")}
    assert paid == {str(id_): (payment["status"], payment["refunded"]) for id_, payment in books.payments.items()}


def test_all_that_comes_again_changes_nothing(house: FinanceHouse, books: Books) -> None:
    """Given connectors that tell everything a second time, also in parts, then nothing is other than before."""
    house.stream.publish(books.messages)
    house.feed()
    house.wait_read(len(books.messages))
    before = house.everything()

    again = [*books.messages, *books.messages[5:], *books.messages[-3:]]
    house.stream.publish(again)
    house.wait_read(len(books.messages) + len(again))

    assert house.everything() == before


def test_the_databases_may_come_in_any_order(
    house: FinanceHouse, books: Books, stack_environment: Mapping[str, str]
) -> None:
    """Given all of the payments before any order, then the view is the same as if told side by side."""
    house.stream.publish(books.messages)
    house.feed()
    house.wait_read(len(books.messages))
    expected = house.everything()

    house.query("delete from orders; delete from payments; delete from refunds; delete from ledger_entries")
    apart = [*books.of("payment"), *books.of("order")]
    house.stream.publish(apart)
    house.wait_read(len(books.messages) + len(apart))

    assert house.everything() == expected


class TestKilled:
    def test_in_the_middle_of_a_batch(self, house: FinanceHouse, books: Books) -> None:
        """Given a batch that stands half applied in its transaction, when the feed is killed, then nothing of it is
        there; and when it comes back, all of it is, once.
        """
        feed = house.feed()
        # A batch's last write, whatever it consists of.
        with house.held("sources"):
            house.stream.publish(books.messages)
            wait_until(lambda: _waits_for_a_lock(house), "the feed waits in the middle of its transaction")
            feed.kill()
            assert house.offset() == 0
            assert not any(house.everything().values())
        wait_until(lambda: not _waits_for_a_lock(house), "the killed feed's session is gone")

        feed.start()
        house.wait_read(len(books.messages))

        assert {table: len(rows) for table, rows in house.everything().items()} == _as_they_are(books)
        assert house.position()["messages"] == len(books.messages)

    def test_again_and_again(self, house: FinanceHouse) -> None:
        """Given a feed that is killed wherever it is, then every message has been applied exactly once."""
        feed = house.feed()
        books, published = Books(), 0
        for _ in range(5):
            for _ in range(40):
                books.sell()
            house.stream.publish(books.messages[published:])
            published = len(books.messages)
            feed.restart_killed()
        house.wait_read(published)

        assert house.position()["messages"] == published
        assert {table: len(rows) for table, rows in house.everything().items()} == _as_they_are(books)

    def test_another_takes_over(self, house: FinanceHouse, books: Books) -> None:
        """Given one on standby, when the active feed is killed, then the other goes on where that one was."""
        active = house.feed()
        standby = house.standby()
        house.stream.publish(books.messages[:10])
        house.wait_read(10)
        assert '"event": "feed_active"' not in standby.output()

        active.kill()
        standby.wait_ready()
        house.stream.publish(books.messages[10:])
        house.wait_read(len(books.messages))

        assert house.position()["messages"] == len(books.messages)


def _waits_for_a_lock(house: FinanceHouse) -> bool:
    waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    return bool(house.query(waiting))


class TestUnreadable:
    def test_what_is_no_change_is_left_out_and_counted(self, house: FinanceHouse, books: Books) -> None:
        """Given nonsense in between, then what stands around it is applied, and the nonsense is counted."""
        half = len(books.messages) // 2
        house.stream.publish(books.messages[:half])
        for body in (b"", b"[]", b"{not json", b'{"database":"order","table":"orders","operation":"c"}'):
            house.stream.publish_body(body, "nonsense")
        house.stream.publish(books.messages[half:])
        feed = house.feed()
        house.wait_read(len(books.messages) + 4)

        assert {table: len(rows) for table, rows in house.everything().items()} == _as_they_are(books)
        assert house.position()["unreadable"] == 4
        assert feed.output().count("change_left_out") == 4

    def test_what_the_database_refuses_harms_no_other(self, house: FinanceHouse, books: Books) -> None:
        """Given an amount that no column holds, then the messages of its batch are applied without it."""
        too_much = Books()
        too_much.place("99999999999999.00")
        house.stream.publish([*books.messages, *too_much.messages, *books.messages[-1:]])
        feed = house.feed()
        house.wait_read(len(books.messages) + 2)

        assert {table: len(rows) for table, rows in house.everything().items()} == _as_they_are(books)
        assert house.position() | {"messages": 0} == house.position() | {"unreadable": 1, "messages": 0}
        assert "change_left_out" in feed.output()
        assert "99999999999999" not in feed.output()

    def test_other_databases_and_tables_are_passed_over(self, house: FinanceHouse, books: Books) -> None:
        """Given tables that nobody follows here, then they say how far their database is, and nothing more."""
        books.later(minutes=5)
        books.messages.append(books.orders_log.change("outbox", "c", {"id": 1, "payload": {}}, books.now))
        house.stream.publish(books.messages)
        house.stream.publish_body(b'{"database":"inventory","table":"stock","operation":"c","lsn":1}', "other")
        house.feed()
        house.wait_read(len(books.messages) + 1)

        assert house.position()["unreadable"] == 0
        assert house.query("select as_of from sources where database = 'order'") == [(books.now,)]


class TestDeleted:
    def test_an_archived_order_happened_all_the_same(self, house: FinanceHouse, books: Books) -> None:
        """Given orders that are deleted, then one that was over still counts, and one under way is gone."""
        over, under_way = books.sell("7.00"), books.place("8.00")
        books.order_becomes(over, "FULFILLED")
        books.forget_order(over)
        books.forget_order(under_way)
        house.stream.publish(books.messages)
        house.feed()
        house.wait_read(len(books.messages))

        gone = {str(row[0]): row[-1] for row in house.rows("orders")}
        assert (gone[str(over)], gone[str(under_way)]) == (False, True)

        # Told once more, the same again: a change before the deletion brings nothing back.
        house.stream.publish(books.messages)
        house.wait_read(2 * len(books.messages))
        assert {str(row[0]): row[-1] for row in house.rows("orders")} == gone


class TestSnapshot:
    def test_fills_an_empty_view_and_says_nothing_of_the_moment(self, house: FinanceHouse, books: Books) -> None:
        """Given a snapshot of rows with a history, then money is dated as the ledger says, and as-of comes with what
        follows.
        """
        house.stream.publish(taken := books.snapshot())
        house.feed()
        house.wait_read(len(taken))
        assert house.query("select count(*) from sources where as_of is not null") == [(0,)]
        captured = {row[0]: row[7] for row in house.rows("payments")}
        entries = {row[1]: row[5] for row in house.rows("ledger_entries") if row[2] == "psp_receivable" and row[3] > 0}
        assert captured == entries

        books.messages.clear()
        books.heartbeat()
        house.stream.publish(books.messages)
        house.wait_read(len(taken) + 2)
        assert house.query("select as_of from sources") == [(books.now,), (books.now,)]

    def test_older_rows_of_a_snapshot_change_nothing(self, house: FinanceHouse, books: Books) -> None:
        """Given a snapshot that was read before a change and comes after it, then the change stands."""
        taken = books.snapshot()
        order = next(iter(books.orders))
        books.order_becomes(order, "FULFILLED")
        house.stream.publish([*books.messages, *taken])
        house.feed()
        house.wait_read(len(books.messages) + len(taken))

        [status] = [row[2] for row in house.rows("orders") if str(row[0]) == str(order)]
        assert status == "FULFILLED"


class TestLost:
    def test_what_retention_has_dropped_is_said(self, house: FinanceHouse) -> None:
        """Given a feed that was away until the stream had dropped what it had not read, then it goes on with the oldest
        message there is, says which were lost, and keeps that until a snapshot has told all rows again.
        """
        house.stream.declare_anew(x_max_length_bytes=200_000, x_stream_max_segment_size_bytes=20_000)
        books = Books()
        books.sell()
        house.stream.publish(books.messages)
        feed = house.feed()
        house.wait_read(read := len(books.messages))
        assert feed.terminate() == 0

        for _ in range(150):
            books.sell()
        books.later(minutes=1)
        books.heartbeat()
        house.stream.publish(books.messages[read:])
        feed.start()
        house.wait_known(books.now)

        position = house.position()
        assert (position["losses"], position["lost_from"]) == (1, read)
        assert position["lost_to"] >= read
        assert "changes_lost" in feed.output()
        assert 1 < len(house.rows("orders")) < len(books.orders)

        so_far = len(books.messages)
        told = books.snapshot()
        books.later(minutes=1)
        books.heartbeat()
        house.stream.publish([*told, *books.messages[so_far:]])
        house.wait_known(books.now)
        assert len(house.rows("orders")) == len(books.orders)

    def test_a_stream_that_was_made_anew_is_read_from_its_beginning(self, house: FinanceHouse, books: Books) -> None:
        """Given a stream of the same name that is another one, shorter than what was read, then all of it is read."""
        house.stream.publish(books.messages)
        feed = house.feed()
        house.wait_read(len(books.messages))
        assert feed.terminate() == 0

        house.stream.declare_anew()
        later = Books(books.now)
        later.orders_log, later.payments_log = books.orders_log, books.payments_log
        later.later(days=2)
        later.sell("1.00")
        later.heartbeat()
        house.stream.publish(later.messages)
        feed.start()
        house.wait_known(later.now)

        assert (house.position()["losses"], house.offset()) == (1, len(later.messages))
        assert "changes_lost" in feed.output()
        assert len(house.rows("orders")) == len(books.orders) + 1


def test_a_frozen_feed_loses_its_place_to_nobody(house: FinanceHouse, books: Books) -> None:
    """Given a batch that another feed has applied meanwhile, then this one sees it and reads on behind it."""
    feed = house.feed()
    house.stream.publish(books.messages[:10])
    house.wait_read(10)
    # As if another one had applied the next ten.
    house.query("update positions set next_offset = 20, last_message_id = %s", books.messages[19].id)
    house.stream.publish(books.messages[10:])
    house.wait_read(len(books.messages) - 10)

    assert "feed_overtaken" in feed.output()
    assert house.position()["messages"] == len(books.messages) - 10
