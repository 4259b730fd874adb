"""Crash points: named once, described, and nothing at all in a process that takes no orders."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from faults.crash_points import INJECTED, ROOT, CrashOrders, in_the_code
from faults.injected.ordersaga_injected.crash_points import LABEL, crash_points, with_calls
from faults.injected.ordersaga_injected.importing import PACKAGES

PAGE = ROOT / "docs" / "decisions" / "0022-crash-points.md"
SOURCE = """\
def work():
    before()
    # crash point: some.step
    text = "# crash point: not.one"  # crash point: behind.code
    # crash point: Not a label
    return text
"""


def test_each_has_a_name_of_its_own() -> None:
    names = Counter(label for label, _ in in_the_code())
    assert len(names) >= 20
    assert [label for label, times in names.items() if times > 1] == []


def test_each_is_described() -> None:
    described = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(described) == sorted(label for label, _ in in_the_code())


def test_whatever_looks_like_one_is_one() -> None:
    """A misspelt one, or one behind code, would never be reached and never be missed."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    mentions = sum(len(re.findall(r"crash.point", path.read_text(encoding="utf-8"), re.IGNORECASE)) for path in files)
    assert mentions == len(list(in_the_code()))


def test_a_call_takes_the_place_of_the_comment_and_no_line_moves() -> None:
    assert crash_points(SOURCE) == [(3, "some.step")]
    before, after = SOURCE.splitlines(), with_calls(SOURCE).splitlines()
    assert [n for n, (old, new) in enumerate(zip(before, after, strict=True), 1) if old != new] == [3]
    assert after[2].endswith('.reached("some.step")')


@pytest.mark.parametrize("place", sorted({place.partition(":")[0] for _, place in in_the_code()}))
def test_they_leave_no_trace_when_nobody_asks_for_them(place: str) -> None:
    """The same byte code as without them, line numbers too; and other byte code with them."""
    source = (ROOT / place).read_text(encoding="utf-8")
    plain = compile(source, place, "exec")
    assert plain == compile(LABEL.sub("#", source), place, "exec")
    assert plain != compile(with_calls(source), place, "exec")


PROGRAM = """
from ordersaga_injected.crash_points import reached
for number in range(5):
    print(number, flush=True)
    reached("some.step")
"""


def _run(orders: CrashOrders) -> subprocess.CompletedProcess[str]:
    environment = {**orders.settings(), "ORDERSAGA_PROCESS": "somebody"}
    return subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)


def test_an_order_kills_whoever_comes_by_for_that_time(tmp_path: Path) -> None:
    orders = CrashOrders(folder=tmp_path)
    assert _run(orders).returncode == 0
    assert orders.death("some.step") is None

    orders.give("some.step", passes=3)
    killed = _run(orders)
    assert (killed.returncode, killed.stdout.split()) == (-9, ["0", "1", "2"])
    death = orders.death("some.step")
    assert death is not None
    assert (death.process, death.passes) == ("somebody", 3)
    assert orders.passed() == {"some.step"}

    assert _run(orders).returncode == 0, "an order is carried out once"
    orders.give("some.step", passes=1)
    orders.take_back("some.step")
    assert _run(orders).returncode == 0


def test_a_module_of_ours_is_rewritten_on_import(tmp_path: Path) -> None:
    orders = CrashOrders(folder=tmp_path)
    orders.give("outbox.recorded", passes=1)
    program = "import shared.outbox\nshared.outbox.record(type('T', (), {'save': lambda *_: None})(), [])"
    for environment, code in (({"PYTHONPATH": str(INJECTED)}, 0), (orders.settings(), -9)):
        run = subprocess.run([sys.executable, "-c", program], env=environment, check=False, cwd="/")
        assert run.returncode == code
