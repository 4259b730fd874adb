"""What a connector says of itself to probes.

Owns: when a connector counts as alive and as ready. Must not know: how it works.
"""

from __future__ import annotations

from cdc.connector import Connector
from shared.probes import Probes, Report

# Longer than an engine takes to start or to close, and than the broker may take to confirm a window.
LIVE_WITHIN_S = 300.0


def probes_of(connector: Connector) -> Probes:
    return Probes(live=lambda: _live(connector), ready=lambda: _ready(connector))


def _live(connector: Connector) -> Report:
    silent_s = round(connector.state().silent_s, 1)
    return Report(is_good=silent_s < LIVE_WITHIN_S, parts={"silentSeconds": silent_s})


def _ready(connector: Connector) -> Report:
    """One that is paused is as ready as it can be."""
    state = connector.state()
    is_at_work = state.what in ("streaming", "snapshotting")
    parts = {"state": state.what, "broker": "up" if state.has_broker else "down" if is_at_work else "unused"}
    return Report(is_good=state.what == "paused" or (is_at_work and state.has_broker), parts=parts)
