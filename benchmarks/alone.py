"""Single processes of a stack whose others are down.

Owns: stopping the services, starting one of them by hand, ending it. Must not know: what it is wanted for.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench, CannotMeasure
from ops.applications import application_processes
from ops.folder import StackFolder
from ops.processes import ProcessSpec, spawn
from ops.stack import Stack
from ops.state import load_state

_STOP_TIMEOUT_S = 30.0


@contextmanager
def only_servers(bench: Bench) -> Iterator[None]:
    """Broker and databases alone for the block; then everything, started cold."""
    bench.say("stopping services, relays and gateway")
    bench.stack.up(infrastructure_only=True)
    try:
        yield
    finally:
        bench.stack.up()


@contextmanager
def running(stack: Stack, name: str) -> Iterator[int]:
    """The process of that name, e.g. "order_relay", as the stack would start it; its pid."""
    with started(stack, _spec(stack, name), log=f"{name}-alone") as pid:
        yield pid


@contextmanager
def started(stack: Stack, spec: ProcessSpec, *, log: str) -> Iterator[int]:
    """A process beside the stack's own for the block; its pid. ``log`` is the name of its log there."""
    process = spawn(spec, owner=stack.folder, log=stack.log(log))
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_TIMEOUT_S)


def _spec(stack: Stack, name: str) -> ProcessSpec:
    folder = StackFolder(root=stack.folder)
    state = load_state(folder)
    if state is None:
        raise CannotMeasure(f"there is no stack in {stack.folder}")
    return next(spec for spec in application_processes(folder, state) if spec.name == name)
