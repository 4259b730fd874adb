"""What a relay says of itself to probes.

Owns: when a relay counts as alive and as ready. Must not know: how it relays.
"""

from __future__ import annotations

from shared.probes import Probes, Report
from shared.relay import Relay

# Longer than it waits for a window's confirms, one connection attempt and a pause after failing.
LIVE_WITHIN_S = 100.0


def probes_of(relay: Relay) -> Probes:
    return Probes(live=lambda: _live(relay), ready=lambda: _ready(relay))


def _live(relay: Relay) -> Report:
    silent_s = round(relay.state().silent_s, 1)
    return Report(is_good=silent_s < LIVE_WITHIN_S, parts={"loopSilentSeconds": silent_s})


def _ready(relay: Relay) -> Report:
    """One on standby holds no connection to the broker, and is as ready as it can be."""
    state = relay.state()
    broker = "up" if state.has_broker else "down" if state.is_active else "unused"
    parts = {
        "role": "active" if state.is_active else "standby",
        "database": "up" if state.has_database else "down",
        "broker": broker,
    }
    marks = {"chaos": state.chaos} if state.chaos else {}
    return Report(is_good="down" not in parts.values(), parts={**parts, **marks})
