"""Clocks that are set, forward and back, while everything runs.

Owns: that arena and these faults. Must not know: load, invariants.

A library of ours (injected/clock_shim.c) stands between the processes and the kernel's clock. Only the time of day is
set; pauses and timeouts are counted by the monotonic clock, as on a machine whose clock is set. The broker keeps the
true time: it stamps nothing that we read.
"""

from __future__ import annotations

import json
import shutil
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ops.databases import why_unreachable
from ops.errors import StackError
from ops.folder import StackFolder
from ops.packages import install
from ops.processes import ProcessSpec, base_environment, run_once
from ops.stack import Stack
from ops.supervision import Supervision
from ops.waiting import Waiter

from .arena import Wanted, arena_of, arena_settings
from .crash_points import INJECTED
from .fault import Arena, ArenaKind, Fault, NotPossibleHere
from .processes import DATABASE, wait_for

HOUR_S = 3600
# Tokens are made by the true clock, and must not come from the future.
BEGIN_S = 2 * HOUR_S
_SOURCE = INJECTED / "clock_shim.c"
_COMPILER, _PACKAGES = "cc", ("gcc", "libc6-dev")
_NUMBER = struct.Struct("=q")


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The time of day of some processes: how far it is ahead stands in a file that all of them have mapped."""

    file: Path
    library: Path

    def begin(self) -> None:
        """The database server runs as somebody else."""
        self.file.write_bytes(_NUMBER.pack(BEGIN_S))
        self.file.chmod(0o644)

    def set(self, ahead_s: int) -> None:
        """In place: a new file would not be the one that is mapped."""
        with self.file.open("r+b") as file:
            file.write(_NUMBER.pack(ahead_s))

    @property
    def ahead_s(self) -> int:
        return int(_NUMBER.unpack(self.file.read_bytes())[0])

    def settings(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "CLOCK_SHIM_FILE": str(self.file)}


@dataclass(frozen=True, kw_only=True)
class Clocks:
    services: Clock
    database: Clock


@contextmanager
def clocked(wanted: Wanted) -> Iterator[Arena]:
    """Two stacks, so that the database server can be started with a clock of its own before anybody uses it."""
    servers = Stack(wanted.folder.with_name(f"{wanted.folder.name}-servers"), report=wanted.say)
    stack = Stack(wanted.folder, report=wanted.say)
    stack.down(delete_data=True)
    servers.down(delete_data=True)
    with ExitStack() as open_:
        open_.callback(servers.down)
        servers.up(infrastructure_only=True)
        clocks = _clocks_in(servers.folder, _library_in(servers.folder, wanted))
        give_clock(servers, clocks.database)
        open_.callback(stack.down)
        settings = {**arena_settings(wanted), **clocks.services.settings()}
        direct = servers.environment()
        stack.up(settings=settings, replicas=wanted.replicas, external=direct, migrate=False, apply_topology=False)
        yield replace(
            arena_of(stack, wanted),
            kind=ArenaKind.CLOCKED,
            infrastructure=servers,
            environment={**stack.environment(), **servers.administrator()},
            clocks=clocks,
        )


def _library_in(folder: Path, wanted: Wanted) -> Path:
    """Compiled for this machine."""
    library = folder / "clock_shim.so"
    try:
        if shutil.which(_COMPILER) is None:
            install(_PACKAGES, wanted.say)
    except StackError as error:
        raise NotPossibleHere(f"no C compiler: {error.message}") from error
    command = [_COMPILER, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE)]
    done = run_once(command, environment=base_environment(folder))
    if done.returncode != 0:
        raise NotPossibleHere(f"compiling {_SOURCE.name}: {done.stdout.strip()[-300:]}")
    return library


def _clocks_in(folder: Path, library: Path) -> Clocks:
    clocks = Clocks(
        services=Clock(file=folder / "clock-of-services", library=library),
        database=Clock(file=folder / "clock-of-database", library=library),
    )
    clocks.services.begin()
    clocks.database.begin()
    return clocks


def give_clock(servers: Stack, clock: Clock) -> None:
    """PostgreSQL is started again, as the supervisor was told to; it answers when this returns."""
    layout = StackFolder(root=servers.folder)
    wanted = json.loads(layout.wanted_file.read_text(encoding="utf-8"))["processes"]
    specs = [_with(ProcessSpec(**entry), clock.settings()) for entry in wanted]
    Supervision(layout).want(specs, Waiter())
    url = servers.administrator()["ADMIN_DATABASE_URL"]
    wait_for(lambda: why_unreachable(url) is None, "PostgreSQL answers with a clock of its own")


def _with(spec: ProcessSpec, settings: Mapping[str, str]) -> ProcessSpec:
    if spec.name != DATABASE:
        return spec
    return replace(spec, environment={**spec.environment, **settings})


@dataclass(frozen=True, kw_only=True)
class Jumps:
    """Some clocks are set, again and again; each setting lasts a while.

    In hours from where they stood. What is due later than the clock shows when the last step is done would have to be
    waited for in real time: so they end where they have been farthest.
    """

    name: str
    summary: str
    steps_h: tuple[int, ...]
    services: bool
    database: bool
    arena: ArenaKind = ArenaKind.CLOCKED

    def inject(self, arena: Arena) -> int:
        clocks: Clocks = arena.clocks
        moved = [
            clock for clock, moves in ((clocks.services, self.services), (clocks.database, self.database)) if moves
        ]
        stood_s = {clock.file: clock.ahead_s for clock in moved}
        for step_h in self.steps_h:
            arena.say(f"clock: {step_h:+d} h from where it stood")
            for clock in moved:
                clock.set(stood_s[clock.file] + step_h * HOUR_S)
            time.sleep(4.0 if arena.is_quick else arena.chance.uniform(6.0, 15.0))
        return len(self.steps_h)


CLOCKED: tuple[Fault, ...] = (
    Jumps(
        name="clock-of-all",
        summary="all clocks: an hour ahead, back, ahead",
        steps_h=(1, 0, 1),
        services=True,
        database=True,
    ),
    Jumps(
        name="clock-of-services",
        summary="the services' clocks only: an hour ahead, two back",
        steps_h=(1, -1, 0),
        services=True,
        database=False,
    ),
    Jumps(
        name="clock-of-database",
        summary="the database's clock only: an hour ahead, back, ahead",
        steps_h=(1, 0, 1),
        services=False,
        database=True,
    ),
)
