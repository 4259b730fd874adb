"""How much of everything is measured.

Owns: the sizes of a full and of a quick run. Must not know: how it is measured.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The full run; quality of the figures grows with them, and so does the time."""

    orders: int = 20_000
    single: int = 300
    http_seconds: float = 60.0
    loaded_seconds: float = 40.0
    loaded_rate: float = 0.0
    """Orders per second of the phase ``loaded``; 0: half of what ``http`` measured."""


QUICK = Sizes(orders=10_000, single=200, http_seconds=15.0, loaded_seconds=15.0)
