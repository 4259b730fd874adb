"""A broker that is there and answers nothing.

Owns: stopping and continuing its processes. Must not know: what any single test promises.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

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
