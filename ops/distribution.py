"""Latencies put into figures. Owns: percentiles and their names. Must not know: what was timed."""

from __future__ import annotations

from collections.abc import Sequence

SHARES = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` percent of all do not exceed; ``values`` sorted."""
    rank = -(-len(values) * share // 100)
    return values[max(int(rank), 1) - 1]


def percentiles(latencies_ms: Sequence[float]) -> dict[str, object]:
    """For the plots, by percent. Those beyond the number of samples repeat the maximum."""
    ordered = sorted(latencies_ms)
    return {"count": len(ordered), "ms_by_percent": {str(s): round(percentile(ordered, s), 2) for s in SHARES}}


def milliseconds(name: str, latencies_ms: Sequence[float]) -> dict[str, float]:
    ordered = sorted(latencies_ms)
    return {
        f"{name}_ms_p50": round(percentile(ordered, 50), 1),
        f"{name}_ms_p99": round(percentile(ordered, 99), 1),
    }
