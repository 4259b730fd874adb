"""What a process says of itself to probes, one of whose replicas is elected: a relay, a feed.

Owns: when it counts as alive and as ready. Must not know: what it does once it is elected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from shared.probes import Probes, Report

# Longer than one waits for a window's confirms, one connection attempt and a pause after failing.
LIVE_WITHIN_S = 100.0


class ElectedState(Protocol):
    """``silent_s``: how long ago it last went round. One on standby holds no connection to the broker."""

    @property
    def is_active(self) -> bool: ...

    @property
    def has_database(self) -> bool: ...

    @property
    def has_broker(self) -> bool: ...

    @property
    def silent_s(self) -> float: ...


def no_chaos() -> Sequence[Mapping[str, Any]]:
    return ()


def probes_of(state: Callable[[], ElectedState], chaos: Callable[[], Sequence[Mapping[str, Any]]] = no_chaos) -> Probes:
    """``chaos``: the switches that are on."""
    return Probes(live=lambda: _live(state()), ready=lambda: _ready(state(), chaos()))


def _live(state: ElectedState) -> Report:
    silent_s = round(state.silent_s, 1)
    return Report(is_good=silent_s < LIVE_WITHIN_S, parts={"loopSilentSeconds": silent_s})


def _ready(state: ElectedState, chaos: Sequence[Mapping[str, Any]]) -> Report:
    """One on standby is as ready as it can be without the broker."""
    broker = "up" if state.has_broker else "down" if state.is_active else "unused"
    parts = {
        "role": "active" if state.is_active else "standby",
        "database": "up" if state.has_database else "down",
        "broker": broker,
    }
    marks = {"chaos": chaos} if chaos else {}
    return Report(is_good="down" not in parts.values(), parts={**parts, **marks})
