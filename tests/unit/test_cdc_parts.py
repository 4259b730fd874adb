"""A connector's parts without Java, broker and database: messages, memory, commands, what happens when others fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from harness.waiting import wait_until

import cdc.connector
from cdc.__main__ import main
from cdc.commands import read_command
from cdc.connector import Connector
from cdc.figures import Freshness
from cdc.memory import Memory
from cdc.messages import Numbered, messages
from cdc.probing import probes_of
from cdc.settings import Settings
from ops.cdc_command import size
from ops.change_data import ConnectorStatus
from shared.change_data import Change, ChangeEngine, ChangeEngineFailed, EngineSettings, Heartbeat
from shared.change_data.captured import CAPTURED
from shared.config import Source
from shared.errors import BrokerUnavailable, Misconfigured
from shared.messaging.pipelined_channel import Message, PipelinedChannel, Window

ORDER = CAPTURED["order"]
AT = datetime(2026, 3, 1, 12, 0, 0, 500000, tzinfo=UTC)
ENVIRONMENT = {
    "AMQP_URI": "amqp://nowhere",
    "ORDER_REPLICATION_URL": "postgresql://reader:secret@db/order_service",
    "CDC_FOLDER": "/folder",
}


def a_change(lsn: int, *, table: str = "orders", operation: str = "c", at: datetime = AT) -> Change:
    return Change(
        database="order",
        table=table,
        operation=operation,
        before=None,
        after={"id": str(lsn)},
        lsn=lsn,
        transaction_id=7,
        committed_at=at,
        is_snapshot=operation == "r",
    )


def a_heartbeat(lsn: int, at: datetime = AT) -> Heartbeat:
    return Heartbeat(database="order", lsn=lsn, at=at)


class TestMessages:
    def test_a_change_goes_to_its_table_and_a_heartbeat_beside(self) -> None:
        change, beat = messages(ORDER, [a_change(5, table="order_items"), a_heartbeat(6)], Numbered())
        assert (change.exchange, beat.exchange) == ("cdc.order.order_items", "cdc.order.heartbeat")
        assert (change.properties.message_id, beat.properties.message_id) == (
            "order:5:order_items:0",
            "order:6:heartbeat:0",
        )
        assert (change.properties.type, beat.properties.type) == ("order.order_items", "order.heartbeat")
        assert {m.properties.delivery_mode for m in (change, beat)} == {2}
        assert all(message.mandatory for message in (change, beat))
        assert json.loads(change.body) == {
            "database": "order",
            "table": "order_items",
            "operation": "c",
            "before": None,
            "after": {"id": "5"},
            "lsn": 5,
            "transactionId": 7,
            "committedAt": "2026-03-01T12:00:00.500000Z",
            "isSnapshot": False,
        }
        assert json.loads(beat.body) == {
            "database": "order",
            "heartbeat": True,
            "lsn": 6,
            "committedAt": "2026-03-01T12:00:00.500000Z",
        }

    def test_changes_with_one_position_are_told_apart_over_batches(self) -> None:
        numbered = Numbered()
        batches = [[a_change(5, operation="r"), a_change(5, operation="r")], [a_change(5, operation="r"), a_change(6)]]
        ids = [m.properties.message_id for batch in batches for m in messages(ORDER, batch, numbered)]
        assert ids == ["order:5:orders:0", "order:5:orders:1", "order:5:orders:2", "order:6:orders:0"]

    def test_every_exchange_that_is_published_to_is_declared(self) -> None:
        for captured in CAPTURED.values():
            named = {captured.exchange(table) for table in (*captured.tables, "heartbeat")}
            assert named == set(captured.exchanges)


class TestMemory:
    def test_it_lasts_and_a_new_one_is_not_paused(self, tmp_path: Path) -> None:
        folder = tmp_path / "order_cdc"
        assert Memory.read(folder).is_paused is False
        Memory.read(folder).now_paused(True)
        assert Memory.read(folder).is_paused is True
        Memory.read(folder).now_paused(False)
        assert Memory.read(folder).is_paused is False

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"paused": "yes"}', '"x"'])
    def test_what_cannot_be_read_was_never_paused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "connector.json").write_text(content)
        assert Memory.read(tmp_path).is_paused is False


@pytest.mark.parametrize(
    ("body", "command"),
    [
        (b'{"command": "pause"}', "pause"),
        (b'{"command": "snapshot", "by": "me"}', "snapshot"),
        (b'{"command": "explode"}', None),
        (b'{"command": ["pause"]}', None),
        (b'["pause"]', None),
        (b"pause", None),
        (b"\xff", None),
    ],
)
def test_commands_are_three_words(body: bytes, command: str | None) -> None:
    assert read_command(body) == command


class TestSettings:
    def test_each_connector_reads_its_own_database(self) -> None:
        settings = Settings.read(Source(values=ENVIRONMENT), ORDER)
        engine = settings.engine
        assert (engine.user, engine.dbname, engine.slot, engine.publication) == (
            "reader",
            "order_service",
            "order_cdc",
            "ordersaga_cdc",
        )
        assert engine.offset_file == Path("/folder/offsets.dat")
        assert engine.kept_back == ("orders.shipping_address", "orders.payment_method")
        assert engine.snapshot_mode == "initial"

    @pytest.mark.parametrize("missing", ENVIRONMENT)
    def test_what_is_missing_is_named(self, missing: str) -> None:
        values = {name: value for name, value in ENVIRONMENT.items() if name != missing}
        with pytest.raises(Misconfigured, match=missing):
            Settings.read(Source(values=values), ORDER)

    @pytest.mark.parametrize("arguments", [[], ["inventory_service"], ["order_service", "twice"]])
    def test_anything_else_is_told_how(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(arguments, {}) == 2
        assert "order_service|payment_service" in capsys.readouterr().err


def test_freshness_goes_by_what_was_committed_not_by_rows_of_a_snapshot() -> None:
    freshness = Freshness()
    freshness.published([a_change(1, operation="r")])
    assert freshness.newest is None
    later = AT.replace(second=5)
    freshness.published([a_change(2), a_heartbeat(3, at=later), a_change(1, operation="r", at=later)])
    freshness.published([a_change(2)])
    assert freshness.newest == later.timestamp()


class FakeEngine:
    """Takes ChangeEngine's place: hands over batches, fails when told, and otherwise waits to be stopped."""

    is_snapshotting = False

    def __init__(self, handle: Callable[[Sequence[Change | Heartbeat]], None], script: list[Any]) -> None:
        self._handle, self._script = handle, script
        self.stopped = threading.Event()
        self.snapshots = 0

    def run(self) -> None:
        while self._script:
            step = self._script.pop(0)
            if isinstance(step, Exception):
                raise step
            try:
                self._handle(step)
            except BrokerUnavailable:
                # As the real one does when it is to end anyway.
                break
        assert self.stopped.wait(20)

    def stop(self) -> None:
        self.stopped.set()

    def request_snapshot(self) -> None:
        self.snapshots += 1


class FakeChannel:
    """Takes PipelinedChannel's place: each publish meets the next of the answers, and succeeds without one.

    The answer None is a broker that says nothing, until whoever waits for it is told to hurry.
    """

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers
        self.sent: list[list[str]] = []
        self.is_open = False
        self._has_to_hurry = threading.Event()

    def hurry(self) -> None:
        self._has_to_hurry.set()

    def connect(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def publish_all(self, all_of: Sequence[Message]) -> Window:
        self.sent.append([message.properties.message_id.split(":")[1] for message in all_of])
        answer = self.answers.pop(0) if self.answers else Window()
        if answer is None:
            assert self._has_to_hurry.wait(20)
            answer = BrokerUnavailable("no confirm")
        if isinstance(answer, Exception):
            self.is_open = False
            raise answer
        return cast("Window", answer)


class Scene:
    """A connector among fakes, in a thread."""

    def __init__(self, folder: Path, script: list[Any], answers: list[Any]) -> None:
        self.engines: list[FakeEngine] = []
        self.channel = FakeChannel(answers)
        self.memory = Memory.read(folder)
        settings = Settings.read(Source(values={**ENVIRONMENT, "CDC_FOLDER": str(folder)}), ORDER).engine

        def make(_settings: EngineSettings, handle: Callable[[Sequence[Change | Heartbeat]], None]) -> ChangeEngine:
            self.engines.append(FakeEngine(handle, script))
            return cast("ChangeEngine", self.engines[-1])

        self.connector = Connector(ORDER, settings, cast("PipelinedChannel", self.channel), self.memory, make)
        self._thread = threading.Thread(target=self.connector.run)
        self._thread.start()

    def stop(self) -> None:
        self.connector.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(cdc.connector, "BACKOFF_S", (0.01,))
    made: list[Scene] = []

    def make(script: list[Any], answers: list[Any] | None = None) -> Scene:
        made.append(Scene(tmp_path, script, answers or []))
        return made[-1]

    yield make
    for one in made:
        one.stop()


class TestConnector:
    def test_a_window_is_published_until_the_broker_has_all_of_it(self, scene: Any) -> None:
        """A part of it that was refused would be overtaken by what follows."""
        batch = [a_change(1), a_change(2)]
        answers = [BrokerUnavailable("gone"), Window(confirmed=[0], refused={1: "full"})]
        played = scene([batch, [a_change(3)]], answers)
        wait_until(lambda: len(played.channel.sent) == 4, "both batches")
        assert played.channel.sent == [["1", "2"], ["1", "2"], ["1", "2"], ["3"]]

    def test_an_engine_that_fails_is_followed_by_another(self, scene: Any) -> None:
        played = scene([ChangeEngineFailed("gone"), ChangeEngineFailed("gone"), [a_change(1)]])
        wait_until(lambda: played.channel.sent == [["1"]], "the change")
        assert len(played.engines) == 3

    def test_paused_it_lets_the_engine_and_the_broker_go(self, scene: Any) -> None:
        played = scene([[a_change(1)]])
        wait_until(lambda: probes_of(played.connector).ready().is_good, "it streams")
        played.connector.carry_out("pause")
        wait_until(lambda: played.connector.state().what == "paused", "it is paused")
        report = probes_of(played.connector).ready()
        assert (report.is_good, report.parts) == (True, {"state": "paused", "broker": "unused"})
        assert played.engines[0].stopped.is_set()
        played.connector.carry_out("resume")
        wait_until(lambda: len(played.engines) == 2, "another engine")

    def test_paused_before_it_was_started_it_makes_no_engine(self, scene: Any, tmp_path: Path) -> None:
        Memory.read(tmp_path).now_paused(True)
        played = scene([[a_change(1)]])
        wait_until(lambda: played.connector.state().what == "paused", "it is paused")
        assert played.engines == []

    def test_a_snapshot_is_asked_of_the_engine_that_runs(self, scene: Any) -> None:
        played = scene([[a_change(1)]])
        wait_until(lambda: played.channel.sent, "it streams")
        played.connector.carry_out("snapshot")
        assert played.engines[0].snapshots == 1

    def test_while_the_broker_is_away_it_can_be_ended(self, scene: Any) -> None:
        played = scene([[a_change(1)]], [BrokerUnavailable("gone")] * 10_000)
        wait_until(lambda: len(played.channel.sent) > 2, "it tries")
        assert probes_of(played.connector).ready().is_good is False
        assert probes_of(played.connector).live().is_good is True
        played.connector.stop()

    def test_beside_a_broker_that_stands_still_it_can_be_ended(self, scene: Any) -> None:
        """Given a window that is never confirmed, then the end of the connector is the end of the wait for it."""
        played = scene([[a_change(1)]], [None])
        wait_until(lambda: played.channel.sent, "it waits for the broker")
        played.stop()
        assert played.channel.sent == [["1"]]


def test_sizes_and_states_for_people_and_scripts() -> None:
    assert (size(2048), size(5 * 1024 * 1024)) == ("2 kB", "5.0 MB")
    status = ConnectorStatus(database="order", process="paused", lag_s=1.5, changes=3, slot=None)
    assert status.as_dict() == {"database": "order", "state": "paused", "lagSeconds": 1.5, "changes": 3, "slot": None}
