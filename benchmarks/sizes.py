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
    grown: int = 1_000_000
    """Finished orders in the tables of the phase ``growth``; many of them are filled in two steps."""
    growth_orders: int = 10_000
    """Orders of one round there."""
    growth_rounds: int = 2
    naive_orders: int = 1_500
    floor_orders: int = 20_000
    hot_orders: int = 2_000
    """For one item, of which there is a quarter of that."""
    relay_rows: int = 50_000
    backlog: int = 100_000
    """Events that wait for services that start cold."""
    memory_orders: int = 200_000
    """Those of the backlog before count too."""
    memory_http_seconds: float = 30.0


QUICK = Sizes(
    orders=8_000,
    single=150,
    http_seconds=10.0,
    loaded_seconds=10.0,
    grown=20_000,
    growth_orders=2_000,
    growth_rounds=1,
    naive_orders=400,
    floor_orders=4_000,
    hot_orders=400,
    relay_rows=10_000,
    backlog=4_000,
    memory_orders=8_000,
    memory_http_seconds=10.0,
)
