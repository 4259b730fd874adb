"""Owns: stopping processes of a stack for a while, as a frozen machine would. Must not know: what happens meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from ops.errors import StackError
from ops.stack import Stack


@contextlib.contextmanager
def frozen(stack: Stack, name: str) -> Iterator[None]:
    """SIGSTOP for all replicas of one service or relay, SIGCONT at the end. Raises StackError if none runs."""
    pids = [process.pid for process in stack.processes() if _is_replica(process.name, name) and process.pid]
    if not pids:
        raise StackError(f"{name} does not run")
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _is_replica(process: str, name: str) -> bool:
    return process == name or process.startswith(f"{name}-")
