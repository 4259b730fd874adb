"""Waiting, restarting with backoff, choosing ports, and the command's way with wrong input."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.children import next_delay_s
from ops.cli import main
from ops.display import duration
from ops.errors import StackError
from ops.following import show
from ops.ports import PortChooser, choose_ports
from ops.postgres import find_postmaster
from ops.processes import age_s, is_alive, owned_processes, rotate, run_once, shorten
from ops.waiting import Waiter


def test_a_wait_returns_as_soon_as_the_condition_holds() -> None:
    answers = iter([False, False, True])
    Waiter().until(lambda: next(answers), timeout_s=5, failure=lambda: StackError("late"), pause_s=0)


def test_a_wait_ends_at_its_deadline_with_the_reason() -> None:
    with pytest.raises(StackError, match="the broker is late"):
        Waiter().until(lambda: False, timeout_s=0, failure=lambda: StackError("the broker is late"))


def test_a_wait_can_be_called_off_and_can_lose_hope() -> None:
    with pytest.raises(StackError, match="called off"):
        Waiter(called_off=lambda: True).until(lambda: False, timeout_s=60, failure=lambda: StackError("late"))
    with pytest.raises(StackError, match="died 6 times"):
        Waiter().until(
            lambda: False,
            timeout_s=60,
            failure=lambda: StackError("late"),
            hopeless=lambda: StackError("died 6 times"),
        )


def test_backoff_doubles_up_to_a_cap_and_starts_over_after_a_steady_life() -> None:
    delays = [0.0]
    for _ in range(9):
        delays.append(next_delay_s(delays[-1], alive_s=0.1))
    assert delays[1:] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]
    assert next_delay_s(10.0, alive_s=30.0) == 0.2


class _ImaginaryPorts(PortChooser):
    """A machine on which only some ports are taken; opens no socket."""

    def __init__(self, taken: set[int]) -> None:
        super().__init__(seed="0")
        self.taken = taken

    def take(self, port: int) -> bool:
        free = port not in self.taken
        self.taken.add(port)
        return free


def test_ports_are_remembered_preferred_or_found() -> None:
    chosen = choose_ports(
        _ImaginaryPorts({20_000}), remembered={"amqp": 25_000}, preferred={"amqp": 0, "postgres": 0, "gateway": 8000}
    )
    assert chosen == {"amqp": 25_000, "postgres": 20_001, "gateway": 8000}


def test_a_taken_port_moves_only_its_own_server() -> None:
    chosen = choose_ports(
        _ImaginaryPorts({20_000, 8000}),
        remembered={"postgres": 20_000, "amqp": 20_001, "gateway": 8000},
        preferred={"postgres": 0, "amqp": 0, "gateway": 8000},
    )
    assert chosen == {"postgres": 20_002, "amqp": 20_001, "gateway": 20_003}


def test_a_command_that_hangs_is_killed_and_reported() -> None:
    done = run_once(["/bin/sleep", "60"], environment={}, timeout_s=0.1)
    assert done.returncode == 124


def test_strangers_are_never_taken_for_our_processes(tmp_path: Path) -> None:
    assert owned_processes(tmp_path) == []
    assert is_alive(os.getpid())
    # A pid file of a crashed server whose number now belongs to somebody else: to us.
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path}\n")
    assert find_postmaster(tmp_path) is None


def test_the_age_of_a_process_counts_from_its_own_start() -> None:
    """Given one that is born now, then it is younger than this one by what this one had lived before."""
    before_s = age_s(os.getpid())
    with subprocess.Popen(["sleep", "60"]) as child:
        ages = age_s(os.getpid()), age_s(child.pid)
        child.kill()
    assert before_s > 0
    assert ages[0] - ages[1] == pytest.approx(before_s, abs=5)
    assert age_s(child.pid) == 0


def test_a_small_log_is_kept_and_a_big_one_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("small")
    rotate(log)
    assert log.exists()
    with log.open("ab") as file:
        file.truncate(21 * 1024 * 1024)
    rotate(log)
    assert not log.exists()
    assert (tmp_path / "x.log.1").exists()


def test_lines_of_several_logs_carry_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("one\n")
    (tmp_path / "b.log").write_text("two\n")
    lines: list[str] = []
    show({"a": tmp_path / "a.log", "b": tmp_path / "b.log"}, 5, lines.append)
    assert [line.split() for line in lines] == [["a", "one"], ["b", "two"]]


@pytest.mark.parametrize(
    ("seconds", "words"), [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (3600, "1 h 0 min"), (7500, "2 h 5 min")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_status_and_down_of_a_stack_that_never_was(tmp_path: Path) -> None:
    command = ["--stack", str(tmp_path / "none")]
    status = CliRunner().invoke(main, [*command, "status", "--json"])
    assert status.exit_code == 3
    assert json.loads(status.stdout)["up"] is False
    assert CliRunner().invoke(main, [*command, "down"]).exit_code == 0
    assert not (tmp_path / "none").exists()


def test_commands_that_need_a_stack_say_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--stack", str(tmp_path / "none"), "env"])
    assert result.exit_code == 1
    assert "there is no stack" in result.stderr
    assert "ordersaga up" in result.stderr


@pytest.mark.parametrize("arguments", [["--set", "NOVALUE"], ["--replicas", "order_service=two"], ["--set", "=x"]])
def test_wrong_options_are_usage_errors(tmp_path: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["--stack", str(tmp_path / "none"), "up", *arguments])
    assert result.exit_code == 2
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = CliRunner().invoke(main, ["--stack", str(tmp_path / "file" / ".stack"), "up"])
    assert result.exit_code == 1
    assert "cannot write to" in result.stderr


def test_a_log_that_grows_while_it_is_written_is_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a writer that appends, when its log is too big, then the old part is kept and the writer goes on."""
    monkeypatch.setattr("ops.processes._LOG_SHORTENED_AT_BYTES", 10)
    log = tmp_path / "gateway.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"short\n")
        assert not shorten(log)
        writer.write(b"and longer\n")
        assert shorten(log)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert log.with_suffix(".log.1").read_bytes() == b"short\nand longer\n"
    assert not shorten(tmp_path / "none.log")
