"""Lines about many orders, and lines that are said often: the same form as all others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from shared import logs
from shared.logs import get_logger, say_often
from shared.order_log import MOST_IN_A_LINE, as_texts, ids_of, say_in_parts

log = get_logger(__name__)
ORDERS = [uuid4() for _ in range(MOST_IN_A_LINE * 2 + 1)]


@pytest.fixture
def as_a_process() -> Iterator[None]:
    logs._express.process = "order_service"
    yield
    logs._express.process = None


class TestSaidOften:
    def test_is_a_line_like_any_other(self, as_a_process: None, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        say_often(log, "events_applied", orders=[ORDERS[0], None], count=1)
        said = json.loads(capfdbinary.readouterr().err)
        assert datetime.fromisoformat(said.pop("timestamp")).tzinfo is not None
        assert said == {
            "event": "events_applied",
            "orders": [str(ORDERS[0]), None],
            "count": 1,
            "level": "info",
            "process": "order_service",
        }

    def test_goes_the_usual_way_where_lines_are_for_people(self) -> None:
        with capture_logs() as said:
            say_often(log, "events_applied", orders=[ORDERS[0], None], count=1)
        assert (said[0]["orders"], said[0]["count"]) == ([str(ORDERS[0]), None], 1)

    def test_bears_whatever_a_client_put_into_a_path(self, as_a_process: None) -> None:
        with capture_logs() as said:
            say_often(log, "request", path="/\ud800")
        assert [line["path"] for line in said] == ["/\ud800"]

    def test_that_cannot_be_written_is_lost_and_harms_nobody(
        self, as_a_process: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried = []

        class Full:
            def write(self, line: bytes) -> None:
                tried.append(line)
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(logs.sys, "stderr", SimpleNamespace(buffer=Full()))
        say_often(log, "request")
        assert len(tried) == 1

    def test_is_not_said_at_a_level_that_leaves_it_out(self) -> None:
        code = (
            "import sys\nfrom shared.logs import configure_logs, get_logger, say_often\n"
            "configure_logs(process='p', level=sys.argv[1])\nsay_often(get_logger('m'), 'hello')\n"
        )
        assert [_stderr_of(code, level).count("hello") for level in ("INFO", "WARNING")] == [1, 0]


def _stderr_of(code: str, argument: str) -> str:
    run = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, timeout=60, check=True)
    return run.stderr


class TestManyOrders:
    def test_are_said_in_lines_that_no_collector_splits(
        self, as_a_process: None, capfdbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        columns = {"orders": ORDERS, "event_ids": ORDERS, "types": ["T" * 30] * len(ORDERS)}
        say_in_parts(log, "events_published", columns)
        lines = capfdbinary.readouterr().err.splitlines()
        assert [len(json.loads(line)["orders"]) for line in lines] == [MOST_IN_A_LINE, MOST_IN_A_LINE, 1]
        assert [order for line in lines for order in json.loads(line)["orders"]] == [str(order) for order in ORDERS]
        assert max(map(len, lines)) < 16_000

    def test_of_none_there_is_no_line(self) -> None:
        with capture_logs() as said:
            say_in_parts(log, "events_applied", {"orders": [], "event_ids": []})
        assert said == []

    def test_are_those_of_a_batch_and_none_where_it_is_about_something_else(self) -> None:
        events = [
            SimpleNamespace(envelope=SimpleNamespace(event_id=UUID(int=n)), body=SimpleNamespace(**about))
            for n, about in enumerate(({"order_id": ORDERS[0]}, {"item": "cup"}))
        ]
        assert as_texts(ids_of(events)) == {  # type: ignore[arg-type]
            "orders": [str(ORDERS[0]), None],
            "event_ids": [str(UUID(int=0)), str(UUID(int=1))],
        }
