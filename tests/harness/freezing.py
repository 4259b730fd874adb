"""A broker or a database server that is there and answers nothing.

Owns: stopping and continuing its processes. Must not know: what any single test promises.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ops.stack import Stack


@contextmanager
def frozen_broker(stack: Stack) -> Iterator[None]:
    [pid] = [process.pid for process in stack.processes() if process.name == "rabbitmq"]
    assert pid is not None
    os.killpg(os.getpgid(pid), signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(os.getpgid(pid), signal.SIGCONT)


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
