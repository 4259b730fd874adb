"""Processes that die in the middle of sending: the K-th time they hand something to a socket, whatever it is.

Owns: this fault. Must not know: what was being sent, load, invariants.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from ops.applications import GATEWAY, RELAYS, SERVICES
from ops.processes import is_alive

from .fault import Arena, Fault, NotPossibleHere, Simple
from .processes import names_of, pid_of, wait_for

_PASSES = (1, 2, 3, 5, 8, 13, 21, 34, 55)
_DEAD_WITHIN_S = 30.0


def die_while_sending(arena: Arena) -> int:
    """A service and a relay of each kind in turn; the gateway's workers are children, and its master sends nothing."""
    strace = shutil.which("strace")
    if strace is None:
        raise NotPossibleHere("the program strace is missing (Debian's package strace)")
    passes = _PASSES[:3] if arena.is_quick else _PASSES
    names = [name for name in names_of(arena, *SERVICES, *RELAYS, GATEWAY) if name != GATEWAY]
    for when in passes:
        _die_at(arena, strace, arena.chance.choice(names), when)
    return len(passes)


def _die_at(arena: Arena, strace: str, name: str, when: int) -> None:
    wait_for(lambda: pid_of(arena.stack, name) is not None, f"{name} runs")
    pid = pid_of(arena.stack, name)
    assert pid is not None
    arena.say(f"{name} dies when it sends for time number {when}")
    with _traced(strace, pid, when) as tracer:
        wait_for(
            lambda: not is_alive(pid) or tracer.poll() is not None,
            f"{name} sends {when} times",
            timeout_s=_DEAD_WITHIN_S,
        )
        if is_alive(pid):
            raise NotPossibleHere(f"strace did not do it: {_last_words(tracer)}")
    wait_for(lambda: pid_of(arena.stack, name) not in (None, pid), f"{name} is started again")


@contextmanager
def _traced(strace: str, pid: int, when: int) -> Iterator[subprocess.Popen[str]]:
    injection = f"inject=sendto:signal=SIGKILL:when={when}"
    command = [strace, "-f", "-p", str(pid), "-o", "/dev/null", "-e", "trace=sendto", "-e", injection]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield tracer
    finally:
        tracer.kill()
        tracer.wait()


def _last_words(tracer: subprocess.Popen[str]) -> str:
    return (tracer.stderr.read() if tracer.stderr else "").strip()[-200:]


TRACING: tuple[Fault, ...] = (
    Simple(name="die-sending", summary="SIGKILL at the K-th thing sent, whatever it is", do=die_while_sending),
)
