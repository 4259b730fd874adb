"""The engine on a real log: what a change looks like, what is acknowledged, and that nothing is skipped."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from harness.change_data import NEEDS_DEBEZIUM
from harness.databases import Databases
from harness.waiting import wait_until

from ops.databases import driver_url
from ops.replication import drop_slots
from shared.change_data import Change, ChangeEngine, ChangeEngineFailed, EngineSettings, Heartbeat
from shared.change_data.settings import url_parts

pytestmark = NEEDS_DEBEZIUM

SLOT = "engine_test"
# The first one reads all of Java's classes from the disk.
STARTED_WITHIN_S = 120.0
INSERT = """
insert into order_items (order_id, item, seller_id, quantity, price) values (%s, %s, 'shop', %s, 12.50)
"""
Batch = Sequence[Change | Heartbeat]


@pytest.fixture
def settings(replication: Mapping[str, str], databases: Databases, tmp_path: Path) -> Iterator[EngineSettings]:
    databases.empty()
    yield EngineSettings(
        name=SLOT,
        database="order",
        **url_parts(replication["ORDER_REPLICATION_URL"]),  # type: ignore[arg-type]
        slot=SLOT,
        publication="ordersaga_cdc",
        tables=("orders", "order_items", "outbox"),
        offset_file=tmp_path / "engine" / "offsets.dat",
        snapshot_mode="no_data",
        heartbeat_s=0.5,
    )
    drop_slot(databases)


def drop_slot(databases: Databases) -> None:
    drop_slots(databases.environment["ADMIN_DATABASE_URL"], "order_service", [SLOT])


def slot_is_active(databases: Databases) -> bool:
    return bool(
        databases.query("order_service", "select 1 from pg_replication_slots where slot_name = %s and active", SLOT)
    )


class Running:
    """An engine in a thread, and all that it handed over."""

    def __init__(self, settings: EngineSettings, refuse: Callable[[Batch], None] = lambda _batch: None) -> None:
        self.batches: list[list[Change | Heartbeat]] = []
        self.error: BaseException | None = None
        self.engine = ChangeEngine(settings, self._take)
        self._refuse = refuse
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _take(self, batch: Batch) -> None:
        self._refuse(batch)
        self.batches.append(list(batch))

    def _run(self) -> None:
        try:
            self.engine.run()
        except BaseException as error:
            self.error = error

    @property
    def changes(self) -> list[Change]:
        return [each for batch in self.batches for each in batch if isinstance(each, Change)]

    @property
    def heartbeats(self) -> list[Heartbeat]:
        return [each for batch in self.batches for each in batch if isinstance(each, Heartbeat)]

    def wait_streaming(self) -> None:
        wait_until(lambda: self.heartbeats or self.error, "the engine streams", timeout_s=STARTED_WITHIN_S)
        assert self.error is None, self.error

    def wait_end(self) -> None:
        self._thread.join(STARTED_WITHIN_S)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        self.engine.stop()
        self.wait_end()


@contextmanager
def running(settings: EngineSettings, **options: Any) -> Iterator[Running]:
    run = Running(settings, **options)
    try:
        run.wait_streaming()
        yield run
    finally:
        run.stop()


def add(databases: Databases, item: str, quantity: int = 1, order_id: str | None = None) -> str:
    order_id = order_id or str(uuid4())
    databases.query("order_service", INSERT, order_id, item, quantity)
    return order_id


class TestChanges:
    def test_an_insert_an_update_and_a_delete_of_one_row(self, settings: EngineSettings, databases: Databases) -> None:
        with running(settings) as run:
            before = datetime.now(UTC) - timedelta(seconds=5)
            order_id = add(databases, "cup", 3)
            databases.query("order_service", "update order_items set quantity = 4 where order_id = %s", order_id)
            databases.query("order_service", "delete from order_items where order_id = %s", order_id)
            wait_until(lambda: len(run.changes) == 3, "three changes")
        inserted, updated, deleted = run.changes

        row = {"order_id": order_id, "item": "cup", "seller_id": "shop", "quantity": 3, "price": "12.50"}
        assert (inserted.operation, inserted.before, inserted.after) == ("c", None, row)
        assert (updated.operation, updated.after) == ("u", {**row, "quantity": 4})
        assert (deleted.operation, deleted.before, deleted.after) == ("d", {"order_id": order_id, "item": "cup"}, None)
        assert inserted.lsn < updated.lsn < deleted.lsn
        assert {(c.database, c.table, c.is_snapshot) for c in run.changes} == {("order", "order_items", False)}
        assert len({c.transaction_id for c in run.changes}) == 3
        assert before < inserted.committed_at <= updated.committed_at <= deleted.committed_at

    def test_times_and_json_are_texts(self, settings: EngineSettings, databases: Databases) -> None:
        with running(settings) as run:
            databases.query(
                "order_service",
                """insert into outbox (event_id, event_type, aggregate_id, correlation_id, schema_version, payload,
                                       occurred_at)
                   values (gen_random_uuid(), 'ORDER_CREATED', 'a', 'c', 1, '{"b":  [1.50, "ä"]}',
                           '2026-03-01 12:00:00.123456+02')""",
            )
            wait_until(lambda: run.changes, "a change")
        after = run.changes[0].after
        assert after is not None
        assert after["payload"] == '{"b":  [1.50, "ä"]}'
        assert datetime.fromisoformat(after["occurred_at"]) == datetime(2026, 3, 1, 10, 0, 0, 123456, tzinfo=UTC)
        assert isinstance(after["id"], int)
        assert after["published_at"] is None

    def test_a_large_value_that_an_update_left_alone_is_left_out(
        self, settings: EngineSettings, databases: Databases
    ) -> None:
        large = json.dumps({"text": "".join(str(uuid4()) for _ in range(500))})
        with running(settings) as run:
            databases.query(
                "order_service",
                """insert into outbox (event_id, event_type, aggregate_id, correlation_id, schema_version, payload,
                                       occurred_at)
                   values (gen_random_uuid(), 'ORDER_CREATED', 'a', 'c', 1, %s, now())""",
                large,
            )
            databases.query("order_service", "update outbox set published_at = now()")
            wait_until(lambda: len(run.changes) == 2, "two changes")
        inserted, updated = run.changes
        assert inserted.after is not None
        assert updated.after is not None
        assert inserted.after["payload"] == large
        assert inserted.after.keys() - updated.after.keys() == {"payload"}

    def test_columns_that_are_kept_back_are_in_no_change(self, settings: EngineSettings, databases: Databases) -> None:
        with running(replace(settings, kept_back=("order_items.seller_id",))) as run:
            add(databases, "cup")
            wait_until(lambda: run.changes, "a change")
        assert run.changes[0].after is not None
        assert set(run.changes[0].after) == {"order_id", "item", "quantity", "price"}

    def test_a_transaction_comes_as_it_was_committed_and_one_that_was_rolled_back_never(
        self, settings: EngineSettings, databases: Databases
    ) -> None:
        with running(settings) as run:
            with databases.transaction("order_service") as cursor:
                cursor.execute(INSERT, (str(uuid4()), "rolled back", 1))
            with databases.transaction("order_service") as open_one:
                open_one.execute(INSERT, (str(uuid4()), "first begun", 1))
                add(databases, "first committed")
                open_one.execute(INSERT, (str(uuid4()), "second of it", 1))
                open_one.connection.commit()
            wait_until(lambda: len(run.changes) == 3, "three changes")
        items = [change.after["item"] for change in run.changes if change.after]
        assert items == ["first committed", "first begun", "second of it"]


class TestAcknowledging:
    def test_what_the_handler_refuses_ends_the_engine_and_comes_again(
        self, settings: EngineSettings, databases: Databases
    ) -> None:
        """Given a handler that fails on a change, then the engine says so, and the next one gets that change."""

        def refuse(batch: Batch) -> None:
            if any(isinstance(each, Change) for each in batch):
                raise ValueError("not this one")

        run = Running(settings, refuse)
        run.wait_streaming()
        order_id = add(databases, "refused")
        run.wait_end()
        assert isinstance(run.error, ChangeEngineFailed)
        assert "not this one" in str(run.error)

        with running(settings) as second:
            wait_until(lambda: second.changes, "the change comes again")
        assert [c.after["order_id"] for c in second.changes if c.after] == [order_id]

    def test_what_was_acknowledged_does_not_come_again(self, settings: EngineSettings, databases: Databases) -> None:
        with running(settings) as first:
            add(databases, "seen")
            wait_until(lambda: first.changes, "a change")
            seen = len(first.heartbeats)
            # With the next batch but one PostgreSQL knows.
            wait_until(lambda: len(first.heartbeats) > seen + 2, "heartbeats after it")
        with running(settings) as second:
            add(databases, "new")
            wait_until(lambda: second.changes, "a change")
        assert [c.after["item"] for c in second.changes if c.after] == ["new"]

    def test_changes_made_while_nobody_reads_are_all_there_in_order(
        self, settings: EngineSettings, databases: Databases
    ) -> None:
        with running(settings):
            pass
        order_id = str(uuid4())
        for number in range(50):
            add(databases, f"item {number:02}", order_id=order_id)
        with running(settings) as run:
            wait_until(lambda: len(run.changes) >= 50, "50 changes")
        assert [c.after["item"] for c in run.changes if c.after] == [f"item {n:02}" for n in range(50)]

    @pytest.mark.parametrize("content", [b"", b"\xac\xed\x00\x05half", None], ids=["empty", "cut off", "gone"])
    def test_an_offset_file_that_a_kill_has_spoilt_is_of_no_consequence(
        self, settings: EngineSettings, databases: Databases, content: bytes | None
    ) -> None:
        """The position is the slot's."""
        with running(settings):
            pass
        add(databases, "meanwhile")
        if content is None:
            settings.offset_file.unlink()
        else:
            settings.offset_file.write_bytes(content)
        with running(settings) as run:
            wait_until(lambda: run.changes, "the change")
        assert [c.after["item"] for c in run.changes if c.after] == ["meanwhile"]

    def test_a_batch_that_was_split_within_a_transaction_loses_nothing(
        self, settings: EngineSettings, databases: Databases
    ) -> None:
        """Given batches smaller than a transaction and a handler that fails in the middle, then all of it comes."""
        seen: list[str] = []

        def fail_after_twenty(batch: Batch) -> None:
            seen.extend(c.after["item"] for c in batch if isinstance(c, Change) and c.after)
            if len(seen) > 20:
                raise ValueError("enough")

        small = replace(settings, largest_batch=8)
        run = Running(small, fail_after_twenty)
        run.wait_streaming()
        order_id = str(uuid4())
        databases.query(
            "order_service",
            """insert into order_items (order_id, item, seller_id, quantity, price)
               select %s, 'item ' || lpad(n::text, 3, '0'), 'shop', 1, 1 from generate_series(0, 99) n""",
            order_id,
        )
        run.wait_end()
        assert isinstance(run.error, ChangeEngineFailed)
        with running(small) as second:
            wait_until(lambda: second.changes and second.changes[-1].after["item"] == "item 099", "the last one")  # type: ignore[index]
        again = [c.after["item"] for c in second.changes if c.after]
        assert again == sorted(again)
        handed_over = {c.after["item"] for c in run.changes if c.after}
        assert handed_over | set(again) == {f"item {n:03}" for n in range(100)}


class TestSlot:
    def test_it_moves_on_while_captured_tables_are_quiet(self, settings: EngineSettings, databases: Databases) -> None:
        """Given others of the cluster who write, then the slot keeps none of it."""
        kept = """
            select pg_current_wal_lsn() - restart_lsn, pg_current_wal_lsn() - confirmed_flush_lsn
            from pg_replication_slots where slot_name = %s
        """
        with running(settings) as run:
            for _ in range(5):
                databases.query(
                    "inventory_service",
                    "select pg_logical_emit_message(false, 'noise', repeat('x', 1000000)) from generate_series(1, 4)",
                )
            seen = len(run.heartbeats)
            wait_until(lambda: len(run.heartbeats) > seen + 2, "heartbeats")
            wait_until(
                lambda: databases.query("order_service", kept, SLOT)[0][1] < 1_000_000,
                "what was written is acknowledged",
            )

    def test_a_heartbeat_comes_after_what_was_committed_before_it(
        self, settings: EngineSettings, databases: Databases
    ) -> None:
        with running(settings) as run:
            add(databases, "cup")
            at = databases.value("order_service", "select clock_timestamp()")
            wait_until(lambda: run.heartbeats[-1].at > at, "a heartbeat after it")
            assert len(run.changes) == 1
        moments = [heartbeat.at for heartbeat in run.heartbeats]
        assert moments == sorted(moments)

    def test_one_that_was_taken_away_is_made_again(self, settings: EngineSettings, databases: Databases) -> None:
        with running(settings):
            pass
        drop_slot(databases)
        with running(settings) as run:
            add(databases, "cup")
            wait_until(lambda: run.changes, "a change")

    def test_one_whose_log_is_gone_is_made_again_and_all_rows_are_read(
        self, settings: EngineSettings, databases: Databases
    ) -> None:
        """Given a slot that PostgreSQL has given up before it filled the disk."""
        initial = replace(settings, snapshot_mode="initial")
        with running(initial):
            pass
        add(databases, "never read")
        with small_logs(databases):
            for _ in range(4):
                write_log(databases, "select pg_logical_emit_message(true, 'noise', repeat('x', 20000000))")
                write_log(databases, "select pg_switch_wal()")
                write_log(databases, "checkpoint")
            status = "select wal_status from pg_replication_slots where slot_name = %s"
            assert databases.value("order_service", status, SLOT) == "lost"
        with running(initial) as run:
            wait_until(lambda: run.changes, "its row")
            add(databases, "new")
            wait_until(lambda: len(run.changes) == 2, "the log goes on")
        found = [(c.operation, c.after["item"]) for c in run.changes if c.after]
        assert found == [("r", "never read"), ("c", "new")]

    def test_a_wrong_password_is_said(self, settings: EngineSettings) -> None:
        engine = ChangeEngine(replace(settings, password="wrong"), lambda _batch: None)
        with pytest.raises(ChangeEngineFailed, match="password"):
            engine.run()


def write_log(databases: Databases, statement: str) -> None:
    """As the administrator."""
    connection = psycopg2.connect(driver_url(databases.environment["ADMIN_DATABASE_URL"]))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


@contextmanager
def small_logs(databases: Databases) -> Iterator[None]:
    """A slot is given up soon."""
    setting = "alter system set max_slot_wal_keep_size = '{}'"
    write_log(databases, setting.format("1MB"))
    write_log(databases, "select pg_reload_conf()")
    try:
        yield
    finally:
        write_log(databases, setting.format("2GB"))
        write_log(databases, "select pg_reload_conf()")


class TestSnapshot:
    def test_rows_that_were_there_come_first_and_changes_follow(
        self, settings: EngineSettings, databases: Databases
    ) -> None:
        for number in range(5):
            add(databases, f"old {number}")
        with running(replace(settings, snapshot_mode="initial")) as run:
            add(databases, "new")
            wait_until(lambda: any(c.operation == "c" for c in run.changes), "the new row")
        rows = [c for c in run.changes if c.operation == "r"]
        assert sorted(c.after["item"] for c in rows if c.after) == [f"old {n}" for n in range(5)]
        assert all(c.is_snapshot and c.transaction_id is None for c in rows)
        [new] = [c for c in run.changes if c.operation == "c"]
        assert max(c.lsn for c in rows) < new.lsn
        assert run.changes[-1] is new

    def test_only_once_unless_it_is_asked_for(self, settings: EngineSettings, databases: Databases) -> None:
        initial = replace(settings, snapshot_mode="initial")
        add(databases, "old")
        with running(initial) as first:
            wait_until(lambda: first.changes, "the old row")
        with running(initial) as second:
            add(databases, "new")
            wait_until(lambda: second.changes, "the new row")
            assert [c.operation for c in second.changes] == ["c"]
            second.engine.request_snapshot()
            # What was not acknowledged yet comes once more behind them.
            wait_until(lambda: [c.operation for c in second.changes][:3] == ["c", "r", "r"], "both rows again")
            add(databases, "newer")
            wait_until(lambda: second.changes[-1].after["item"] == "newer", "the log goes on")  # type: ignore[index]
        # What was not acknowledged before comes again.
        assert {(c.operation, c.after["item"]) for c in second.changes[3:] if c.after} <= {("c", "new"), ("c", "newer")}

    def test_of_empty_tables_it_ends_too(self, settings: EngineSettings, databases: Databases) -> None:
        initial = replace(settings, snapshot_mode="initial")
        with running(initial) as run:
            assert initial.snapshot_file.exists()
            assert run.changes == []

    def test_a_change_that_was_open_during_it_is_newer_than_its_rows(
        self, settings: EngineSettings, databases: Databases
    ) -> None:
        """Given a transaction that had written before the snapshot and commits after it, then what it wrote counts."""
        order_id = add(databases, "cup", 1)
        initial = replace(settings, snapshot_mode="initial")
        with running(initial) as run, databases.transaction("order_service") as cursor:
            cursor.execute("update order_items set quantity = 2 where order_id = %s", (order_id,))
            seen = len(run.changes)
            run.engine.request_snapshot()
            wait_until(lambda: len(run.changes) > seen, "the row is read again")
            cursor.connection.commit()
            wait_until(lambda: run.changes[-1].operation == "u", "the update")
        read, updated = run.changes[-2:]
        assert read.after is not None
        assert (read.operation, read.after["quantity"]) == ("r", 1)
        assert read.lsn < updated.lsn

    def test_one_that_was_broken_off_is_begun_again(self, settings: EngineSettings, databases: Databases) -> None:
        initial = replace(settings, snapshot_mode="initial")
        add(databases, "old")

        def refuse(batch: Batch) -> None:
            if any(isinstance(each, Change) for each in batch):
                raise ValueError("broken off")

        broken = Running(initial, refuse)
        broken.wait_end()
        assert isinstance(broken.error, ChangeEngineFailed)
        with running(initial) as run:
            wait_until(lambda: run.changes, "the row")
        assert [c.operation for c in run.changes] == ["r"]


def test_stopping_takes_little_time_and_frees_the_slot(settings: EngineSettings, databases: Databases) -> None:
    with running(settings) as run:
        began = time.monotonic()
        run.stop()
        assert time.monotonic() - began < 45
    wait_until(lambda: not slot_is_active(databases), "the slot is free")
