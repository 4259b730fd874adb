"""The processes of an arena: which there are, ending them, freezing them, waiting until they are back.

Owns: signals. Must not know: why.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from ops.applications import GATEWAY, PSP, RELAYS, SERVICES
from ops.errors import StackError
from ops.processes import is_alive, send, send_group
from ops.stack import Stack
from ops.waiting import holds_within

from .fault import Arena

BROKER, DATABASE = "rabbitmq", "postgres"
_BACK_S = 60.0


class DidNotHappen(Exception):
    """What a fault waited for did not come: the stack does not heal itself, or the fault could not be done."""


def wait_for(condition: Callable[[], bool], what: str, *, timeout_s: float = _BACK_S) -> None:
    if not holds_within(condition, timeout_s=timeout_s):
        raise DidNotHappen(f"not within {timeout_s:.0f} s: {what}")


def pid_of(stack: Stack, name: str) -> int | None:
    """None while it is dead, or the supervisor writes its file."""
    return next((p.pid for p in stack.processes() if p.name == name and p.pid and is_alive(p.pid)), None)


def names_of(arena: Arena, *families: str) -> list[str]:
    """Names of the processes of these families, replicas included: order_service, order_service-2."""
    running = [process.name for process in arena.stack.processes()]
    return [name for name in running if name.partition("-")[0] in families]


def application_names(arena: Arena) -> list[str]:
    """Everything of ours: services, relays, gateway, the simulated provider."""
    return names_of(arena, *SERVICES, *RELAYS, GATEWAY, PSP)


def kill(stack: Stack, name: str) -> None:
    """SIGKILL; returns once its successor lives."""
    killed: list[int] = []

    def is_killed() -> bool:
        # It may have died of itself a moment ago.
        with suppress(StackError):
            killed.append(stack.kill(name))
        return bool(killed)

    wait_for(is_killed, f"{name} runs, to be killed")
    wait_for(lambda: pid_of(stack, name) not in (None, killed[0]), f"{name} is started again")


@contextmanager
def frozen(stack: Stack, names: Sequence[str]) -> Iterator[None]:
    """These processes and their children stand still meanwhile."""
    groups = [pid for name in names if (pid := pid_of(stack, name)) is not None]
    try:
        for group in groups:
            _send_all(group, signal.SIGSTOP)
        yield
    finally:
        for group in groups:
            _send_all(group, signal.SIGCONT)


def _send_all(pid: int, number: int) -> None:
    """To the group of the process, which it leads: every process of a stack has a session of its own."""
    with suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            send_group(pid, number)
        else:
            send(pid, number)
