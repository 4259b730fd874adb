"""`ordersaga logs --order`: which lines are about an order, and what is left of those about many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner

from ops import order_logs
from ops.cli import main
from ops.errors import StackError
from ops.order_story import Subject, story, story_in, subject
from ops.stack import Stack

ORDER, OTHER, REQUEST = str(uuid4()), str(uuid4()), "request-1"
ABOUT = Subject(order_id=ORDER, others=frozenset({REQUEST}))


def line(event: str, second: int = 0, **fields: Any) -> bytes:
    said = {"event": event, "level": "info", "timestamp": f"2026-01-01T12:00:{second:02}.000001Z", "process": "p"}
    return json.dumps({**said, **fields}).encode() + b"\n"


class TestALine:
    def test_about_many_orders_says_only_what_is_about_this_one(self) -> None:
        told = ABOUT.told_by(
            line("events_applied", queue="q", orders=[OTHER, ORDER], event_ids=["e1", "e2"], batch=[1, 2, 3])
        )
        assert told is not None
        assert (told.event, told.fields) == ("events_applied", {"queue": "q", "event_id": "e2", "batch": [1, 2, 3]})

    def test_with_the_order_twice_says_both(self) -> None:
        told = ABOUT.told_by(line("events_applied", orders=[ORDER, OTHER, ORDER], event_ids=["e1", "e2", "e3"]))
        assert told is not None
        assert told.fields == {"event_id": ["e1", "e3"]}

    @pytest.mark.parametrize(
        "foreign",
        [
            line("events_applied", orders=[OTHER], event_ids=["e1"]),
            line("orders_placed", orders=[OTHER], correlation_ids=[REQUEST]),
            line("request", request_id=REQUEST, order_id=OTHER),
            b"not JSON, although it names " + ORDER.encode(),
            json.dumps([ORDER]).encode(),
            json.dumps({"event": "no time", "id": ORDER}).encode(),
        ],
        ids=["another order", "other orders", "another request", "no JSON", "no object", "no time"],
    )
    def test_about_others_or_of_no_known_form_is_left_out(self, foreign: bytes) -> None:
        assert ABOUT.told_by(foreign) is None

    def test_of_a_request_about_the_order_is_found_by_its_id(self) -> None:
        told = ABOUT.told_by(line("event_retried", correlation_id=REQUEST, queue="q"))
        assert told is not None
        assert told.as_dict() == {
            "timestamp": "2026-01-01T12:00:00.000001Z",
            "process": "p",
            "level": "info",
            "event": "event_retried",
            "correlation_id": REQUEST,
            "queue": "q",
        }


class TestTheStory:
    def test_is_told_by_time_from_all_logs_rotated_ones_too(self, tmp_path: Path) -> None:
        (tmp_path / "gateway.log").write_bytes(line("request", 1, order_id=ORDER) + line("request", 9, order_id=OTHER))
        (tmp_path / "order_service.log").write_bytes(line("events_applied", 3, orders=[ORDER], event_ids=["e"]))
        (tmp_path / "order_service.log.1").write_bytes(line("orders_placed", 0, orders=[ORDER], correlation_ids=["c"]))

        logs = {path.stem: path for path in tmp_path.glob("*.log")}
        told = [(line.process, line.event) for line in story(ABOUT, logs)]

        assert told == [
            ("order_service", "orders_placed"),
            ("gateway", "request"),
            ("order_service", "events_applied"),
        ]

    def test_from_elsewhere_names_the_process_as_it_named_itself(self) -> None:
        [told] = story_in(ABOUT, [line("request", 1, order_id=ORDER), b"gateway listening\n"])
        assert told.process == "p"

    def test_knows_the_ids_that_the_timeline_names(self) -> None:
        class Gateway:
            def get(self, path: str, **query: object) -> Any:
                assert path == f"/orders/{ORDER}"
                return {
                    "correlationId": "c1",
                    "paymentId": "p1",
                    "timeline": [{"correlationId": "c1"}, {"correlationId": "c2"}, {}],
                }

        about, why_not = subject(ORDER, Gateway())
        assert (about.others, why_not) == ({"c1", "c2", "p1"}, "")

    def test_is_told_by_the_order_alone_while_the_gateway_is_away(self) -> None:
        class Away:
            def get(self, path: str, **query: object) -> Any:
                raise StackError("the gateway does not answer")

        about, why_not = subject(ORDER, Away())
        assert (about.others, why_not) == (frozenset(), "the gateway does not answer")


class TestTheCommand:
    def test_shows_what_comes_from_stdin(self, tmp_path: Path) -> None:
        arguments = ["--stack", str(tmp_path), "logs", "--order", ORDER, "--from", "-"]
        lines = line("request", 1, order_id=ORDER, path="/api/v1/orders [x]") + line("request", 2, order_id=OTHER)

        shown = CliRunner().invoke(main, arguments, input=lines)

        assert shown.exit_code == 0, shown.output
        [row] = shown.stdout.splitlines()
        assert row.split() == ["12:00:01.000", "p", "request", f"order_id={ORDER}", "path=/api/v1/orders", "[x]"]

    def test_shows_an_object_a_line_for_scripts(self, tmp_path: Path) -> None:
        arguments = ["--stack", str(tmp_path), "logs", "--order", ORDER, "--json", "--from", "-"]
        shown = CliRunner().invoke(main, arguments, input=line("request", 1, order_id=ORDER, status=202))
        [document] = [json.loads(text) for text in shown.stdout.splitlines()]
        assert (document["event"], document["status"]) == ("request", 202)

    def test_says_that_there_is_nothing(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(main, ["--stack", str(tmp_path), "logs", "--order", ORDER])
        assert result.exit_code == 1
        assert "no log says anything" in result.stderr

    @pytest.mark.parametrize("arguments", [["--order", "7"], ["--json"]])
    def test_refuses_wrong_usage(self, tmp_path: Path, arguments: list[str]) -> None:
        assert CliRunner().invoke(main, ["--stack", str(tmp_path), "logs", *arguments]).exit_code == 2

    def test_goes_on_with_what_is_added_and_says_nothing_twice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Given a log that grows while it is read, when it is followed, then each line is shown once."""
        log = tmp_path / "p.log"
        first, second = line("request", 1, order_id=ORDER), line("events_applied", 2, orders=[ORDER])
        log.write_bytes(b"")
        original = order_logs.story

        def read(about: Subject, logs: Any) -> Any:
            log.write_bytes(first)
            return original(about, logs)

        pauses = iter([lambda: log.write_bytes(first + second), lambda: None])

        def pause(_seconds: float) -> None:
            go_on = next(pauses, None)
            if go_on is None:
                raise KeyboardInterrupt
            go_on()

        monkeypatch.setattr(order_logs, "story", read)
        monkeypatch.setattr(order_logs.time, "sleep", pause)
        monkeypatch.setattr(order_logs, "_subject", lambda *_: (ABOUT, ""))

        with pytest.raises(KeyboardInterrupt):
            order_logs.show_order(Stack(tmp_path), ORDER, {"p": log}, source=None, following=True, as_json=True)
        shown = [json.loads(text)["event"] for text in capsys.readouterr().out.splitlines()]
        assert shown == ["request", "events_applied"]
