"""CPU time by component: which process of the stack, and which database's sessions, worked how long.

Owns: reading /proc, and who a process belongs to. Must not know: what was measured meanwhile.

The kernel counts in hundredths of a second, for whole processes: exact over seconds, whatever else runs on the machine.
A process that ends hands its time to its parent, so nothing gets lost with short-lived sessions and workers.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.stack import Stack

LOAD = "load"
ELSEWHERE = "elsewhere"
"""Busy time of the machine that belongs to no component: the kernel's own threads, and whatever else runs."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SESSION = re.compile(r"postgres: \w+ (\w+) [\d.]+\(\d+\)")
_REPLICA = re.compile(r"-\d+$")


@dataclass(frozen=True, kw_only=True)
class _Process:
    parent: int
    started: int
    own: int
    ended_children: int


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Ticks used up to one moment: by each component with all its descendants, by sessions that live, by everybody."""

    components: Mapping[str, int]
    sessions: Mapping[tuple[int, int], tuple[str, int]]
    machine: int


def read(stack: Stack, others: Mapping[int, str] | None = None) -> Reading:
    """The state of things now; two of them make a difference (:func:`spent_s`).

    ``others`` are processes that the stack's supervisor does not know, by pid.
    """
    everyone = dict(_everyone())
    roots = {p.pid: _REPLICA.sub("", p.name) for p in stack.processes() if p.pid is not None}
    roots.update({os.getpid(): LOAD, **(others or {})})
    components: Counter[str] = Counter()
    sessions = {}
    for pid, process in everyone.items():
        component = _component(pid, everyone, roots)
        if component is None:
            continue
        components[component] += process.own + process.ended_children
        if component == "postgres":
            sessions[pid, process.started] = (_session(pid), process.own)
    return Reading(components=components, sessions=sessions, machine=_busy_ticks())


def spent_s(before: Reading, after: Reading) -> dict[str, float]:
    """Component → CPU seconds between the two; the sum is all that the machine did."""
    ticks = Counter({name: after.components[name] - before.components.get(name, 0) for name in after.components})
    postgres = ticks.pop("postgres", 0)
    ticks.update(_by_database(before, after, postgres))
    ticks[ELSEWHERE] = after.machine - before.machine - sum(ticks.values())
    return {name: count / _TICKS_PER_S for name, count in sorted(ticks.items())}


def _by_database(before: Reading, after: Reading, total: int) -> Counter[str]:
    """What the living sessions did, by database; the rest is that of sessions and vacuums that have ended."""
    ticks: Counter[str] = Counter()
    for key, (name, own) in after.sessions.items():
        ticks[name] += own - before.sessions.get(key, ("", 0))[1]
    ticks["postgres: ended sessions"] = total - sum(ticks.values())
    return ticks


def descendants(pid: int) -> list[int]:
    """Its children and theirs, the eldest first."""
    everyone = dict(_everyone())
    found = {other for other in everyone if _component(other, everyone, {pid: "it"})} - {pid}
    return sorted(found, key=lambda other: (everyone[other].started, other))


def _component(pid: int, everyone: Mapping[int, _Process], roots: Mapping[int, str]) -> str | None:
    while pid in everyone:
        if pid in roots:
            return roots[pid]
        pid = everyone[pid].parent
    return None


def _session(pid: int) -> str:
    found = _SESSION.match(_read_text(Path(f"/proc/{pid}/cmdline")).replace("\0", " "))
    return f"postgres: {found[1]}" if found else "postgres: background"


def _everyone() -> Iterator[tuple[int, _Process]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            # The name, in brackets, may hold anything; what follows it are numbers.
            fields = _read_text(Path(f"/proc/{entry}/stat")).rpartition(")")[2].split()
            if fields:
                numbers = [int(fields[at]) for at in (1, 11, 12, 13, 14, 19)]
                parent, user, system, ended_user, ended_system, started = numbers
                yield (
                    int(entry),
                    _Process(
                        parent=parent, started=started, own=user + system, ended_children=ended_user + ended_system
                    ),
                )


def _busy_ticks() -> int:
    """Without what the machine's own host took away (steal): nobody here used it."""
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, *_ = map(
        int, Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:]
    )
    return user + nice + system + interrupts + soft_interrupts


def _read_text(path: Path) -> str:
    """Empty when the process is gone."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
