"""Row changes out of Debezium's JSON, and what Debezium is told; without Java."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from ops.packages import find_java
from shared.change_data import Change, EngineSettings, Heartbeat, machine
from shared.change_data.captured import CAPTURED, outbox_slot, replication_role, slots_of
from shared.change_data.changes import read_record
from shared.change_data.properties import snapshot_properties, streaming_properties
from shared.change_data.settings import url_parts
from shared.errors import Misconfigured

SOURCE = {"table": "orders", "lsn": 4711, "txId": 99, "ts_ms": 1772366400123, "ts_us": 1772366400123456}
AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SETTINGS = EngineSettings(
    name="order_cdc",
    database="order",
    host="db",
    port=5433,
    dbname="order_service",
    user="reader",
    password="secret",
    slot="order_cdc",
    publication="ordersaga_cdc",
    tables=("orders", "outbox"),
    snapshot_tables=("orders",),
    kept_back=("orders.shipping_address",),
    offset_file=Path("/folder/offsets.dat"),
)


def read(key: Any = None, snapshot_lsn: int | None = None, **said: Any) -> Change | Heartbeat | None:
    value = {"source": SOURCE, "before": None, "after": None, **said}
    return read_record("order", None if key is None else orjson.dumps(key), orjson.dumps(value), snapshot_lsn)


class TestReading:
    def test_a_change(self) -> None:
        assert read(op="u", key={"id": "1"}, after={"id": "1", "price": "10.00"}) == Change(
            database="order",
            table="orders",
            operation="u",
            before=None,
            after={"id": "1", "price": "10.00"},
            lsn=4711,
            transaction_id=99,
            committed_at=AT,
            is_snapshot=False,
        )

    def test_of_a_deleted_row_the_key_alone(self) -> None:
        """Debezium fills up the rest with nothing, which would read like values."""
        deleted = read(op="d", key={"id": "1"}, before={"id": "1", "price": "0", "status": ""})
        assert isinstance(deleted, Change)
        assert (deleted.before, deleted.after) == ({"id": "1"}, None)

    def test_a_value_that_the_log_does_not_have_is_left_out(self) -> None:
        changed = read(op="u", key={"id": "1"}, after={"id": "1", "payload": "__debezium_unavailable_value"})
        assert isinstance(changed, Change)
        assert changed.after == {"id": "1"}

    def test_a_row_of_a_snapshot_gets_the_position_behind_which_changes_win(self) -> None:
        row = read(op="r", key={"id": "1"}, after={"id": "1"}, snapshot_lsn=4000)
        assert isinstance(row, Change)
        assert (row.lsn, row.transaction_id, row.is_snapshot) == (4000, None, True)
        change = read(op="c", key={"id": "1"}, after={"id": "1"}, snapshot_lsn=4000)
        assert isinstance(change, Change)
        assert (change.lsn, change.is_snapshot) == (4711, False)

    def test_a_message_in_the_log_is_a_heartbeat(self) -> None:
        message = {"prefix": "ordersaga.heartbeat.order_cdc", "content": ""}
        assert read(op="m", message=message) == Heartbeat(database="order", lsn=4711, at=AT)

    def test_older_ones_know_milliseconds_only(self) -> None:
        source = {name: value for name, value in SOURCE.items() if name != "ts_us"}
        change = read(op="c", source=source, after={})
        assert isinstance(change, Change)
        assert change.committed_at == AT.replace(microsecond=123000)

    @pytest.mark.parametrize("said", [{"ts_ms": 1}, {"op": "t"}, {"status": "BEGIN", "id": "1"}])
    def test_anything_else_is_none(self, said: dict[str, Any]) -> None:
        assert read(**said) is None


class TestProperties:
    def test_the_log_is_read_from_a_slot_that_stays(self) -> None:
        told = streaming_properties(SETTINGS)
        assert (told["slot.name"], told["slot.drop.on.stop"]) == ("order_cdc", "false")
        assert (told["publication.name"], told["publication.autocreate.mode"]) == ("ordersaga_cdc", "disabled")
        assert told["snapshot.mode"] == "no_data"
        assert told["offset.storage.file.filename"] == "/folder/offsets.dat"

    def test_heartbeats_are_messages_that_only_this_engine_reads(self) -> None:
        told = streaming_properties(SETTINGS)
        [prefix] = re.findall(r"'(ordersaga[^']+)'", told["heartbeat.action.query"])
        assert re.fullmatch(told["message.prefix.include.list"], prefix)
        assert prefix.endswith(".order_cdc")
        assert told["heartbeat.interval.ms"] == "5000"

    def test_a_snapshot_touches_neither_offset_nor_slot(self) -> None:
        told = snapshot_properties(SETTINGS)
        assert told["snapshot.mode"] == "initial_only"
        assert "offset.storage.file.filename" not in told
        assert told["name"] != streaming_properties(SETTINGS)["name"]

    @pytest.mark.parametrize(("told", "tables"), [(streaming_properties, 2), (snapshot_properties, 1)])
    def test_tables_and_what_is_kept_back_are_exact_names(self, told: Any, tables: int) -> None:
        patterns = told(SETTINGS)["table.include.list"].split(",")
        assert len(patterns) == tables
        assert re.fullmatch(patterns[0], "public.orders")
        assert not re.fullmatch(patterns[0], "public_orders")
        assert re.fullmatch(told(SETTINGS)["column.exclude.list"], "public.orders.shipping_address")

    def test_values_are_texts_where_json_has_no_type_for_them(self) -> None:
        for told in (streaming_properties(SETTINGS), snapshot_properties(SETTINGS)):
            assert (told["decimal.handling.mode"], told["time.precision.mode"]) == ("string", "isostring")
            assert told["errors.max.retries"] == "0"


class TestSettings:
    def test_the_parts_of_an_address(self) -> None:
        parts = url_parts("postgresql+psycopg2://reader:p%40ss@db:5433/order_service")
        assert parts == {"host": "db", "port": 5433, "dbname": "order_service", "user": "reader", "password": "p@ss"}

    @pytest.mark.parametrize("url", ["postgresql://db/x", "postgresql://reader@db/x", "postgresql://reader:p@db"])
    def test_one_without_a_login_is_refused(self, url: str) -> None:
        with pytest.raises(Misconfigured):
            url_parts(url)


class TestNames:
    def test_slots_and_roles(self) -> None:
        assert slots_of("order_service") == ("order_cdc", "order_outbox")
        assert slots_of("inventory_service") == ("inventory_outbox",)
        assert outbox_slot("payment_service") == "payment_outbox"
        assert replication_role("order_service") == "order_service_cdc"

    @pytest.mark.parametrize("captured", CAPTURED.values(), ids=list(CAPTURED))
    def test_what_is_captured_is_what_the_migration_publishes(self, captured: Any) -> None:
        folder = Path(__file__).resolve().parents[2] / captured.service / "migrations" / "versions"
        [migration] = [text for file in folder.glob("*.py") if "ordersaga_cdc" in (text := file.read_text())]
        [published] = re.findall(r"create publication ordersaga_cdc for table ([a-z_, ]+[a-z])", migration)
        assert published.split(", ") == list(captured.tables)
        assert set(captured.snapshot_tables) < set(captured.tables)
        assert {column.partition(".")[0] for column in captured.kept_back} <= set(captured.tables)

    @pytest.mark.parametrize("service", ["order", "payment"])
    def test_columns_that_are_kept_back_are_there(self, service: str) -> None:
        from importlib import import_module

        tables = import_module(f"{service}_service.models").Base.metadata.tables
        for name in CAPTURED[service].kept_back:
            table, _, column = name.partition(".")
            assert column in tables[table].columns


class TestJava:
    def test_without_the_extra_it_is_said_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import builtins

        ordinary = builtins.__import__

        def missing(name: str, *arguments: Any, **named: Any) -> Any:
            if name.startswith("jpype"):
                raise ImportError(name)
            return ordinary(name, *arguments, **named)

        monkeypatch.setattr(builtins, "__import__", missing)
        with pytest.raises(Misconfigured, match="make cdc"):
            machine.start()

    def test_a_java_that_is_too_old_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setattr("ops.packages._JAVA_PLACES", tmp_path)
        for name in ("java-11-openjdk-amd64", "default-java"):
            (tmp_path / name / "lib" / "server").mkdir(parents=True)
            (tmp_path / name / "lib" / "server" / "libjvm.so").touch()
        assert find_java() is None
        (tmp_path / "java-17-openjdk-amd64" / "lib" / "server").mkdir(parents=True)
        (tmp_path / "java-17-openjdk-amd64" / "lib" / "server" / "libjvm.so").touch()
        assert find_java() == tmp_path / "java-17-openjdk-amd64" / "lib" / "server" / "libjvm.so"
