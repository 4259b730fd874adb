"""A broker or a database server that is there and answers nothing.

Owns: stopping and continuing its processes. Must not know: what any single test promises.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.waiting import wait_until
from ops.stack import Stack


@contextmanager
def frozen_broker(stack: Stack) -> Iterator[None]:
    [pid] = [process.pid for process in stack.processes() if process.name == "rabbitmq"]
    assert pid is not None
    group = os.getpgid(pid)
    os.killpg(group, signal.SIGSTOP)
    try:
        # One thread takes the signal and stops the others: until it has its turn on a busy machine, they work on.
        wait_until(lambda: _stands_still(group), "every thread of the broker stands still")
        yield
    finally:
        os.killpg(group, signal.SIGCONT)


def _stands_still(group: int) -> bool:
    return all(state in "TZ" for state, its_group in _threads() if its_group == group)


def _threads() -> Iterator[tuple[str, int]]:
    """State and process group of each thread there is."""
    for stat in Path("/proc").glob("[0-9]*/task/*/stat"):
        with suppress(OSError):
            # Behind its name, which may contain anything.
            state, _, group = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
            yield state, int(group)


@contextmanager
def frozen_database(stack: Stack) -> Iterator[None]:
    """The server's own process and that of each connection: PostgreSQL gives every one of them a session of its own."""
    [server] = [process.pid for process in stack.processes() if process.name == "postgres"]
    pids = [server, *map(int, Path(f"/proc/{server}/task/{server}/children").read_text().split())]
    assert len(pids) > 1
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
