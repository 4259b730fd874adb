"""Which charts are drawn of a run. Owns: what is on them. Must not know: how they are drawn, where they are shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.plots.svg import Axis, Line, line_chart, linear, logarithmic, stacked_bars

Results = Mapping[str, Any]
"""What ``python -m benchmarks`` wrote: figures, details by phase, sizes."""
# To the right of 50 % each step is a tenth of what is left, so that rare waits are as wide as usual ones.
_PERCENTS = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)
_GROUPS = (
    ("gateway", ("gateway",)),
    ("services", ("_service", "naive_")),
    ("relays", ("_relay",)),
    ("provider", ("psp",)),
    ("RabbitMQ", ("rabbitmq",)),
    ("PostgreSQL", ("postgres",)),
    ("load generator", ("load",)),
)


def charts(results: Results, before: Results | None) -> dict[str, str]:
    """Name → SVG, for what was measured."""
    drawn = {
        "latency": _latency(results["details"]),
        "throughput": _throughput(results["details"]),
        "growth": _growth(results["details"]),
        "cost": _cost(results["figures"]),
        "memory": _memory(results["details"]),
        "before-after": _before_after(results["figures"], before["figures"]) if before else None,
    }
    return {name: svg for name, svg in drawn.items() if svg}


def _latency(details: Mapping[str, Any]) -> str | None:
    found = {
        "one at a time": details.get("latency", {}),
        "at half load": details.get("loaded", {}).get("confirmed", {}),
        "POST at half load": details.get("loaded", {}).get("answered", {}),
        "POST at full load": details.get("http", {}),
    }
    lines = [
        Line(label=label, points=_tail(one), is_dashed=label.startswith("POST"))
        for label, one in found.items()
        if one.get("ms_by_percent")
    ]
    if not lines:
        return None
    heights = [y for line in lines for _, y in line.points]
    ticks = [(_rarity(percent), f"{percent:g}") for percent in _PERCENTS]
    x = Axis(title="percent of orders", low=ticks[0][0], high=ticks[-1][0], ticks=ticks)
    y = logarithmic("milliseconds", min(heights) * 0.8, max(heights) * 1.2)
    return line_chart("Until CONFIRMED (solid), until the answer to POST (dashed)", x, y, lines)


def _rarity(percent: float) -> float:
    return -math.log10(1 - percent / 100)


def _tail(one: Mapping[str, Any]) -> list[tuple[float, float]]:
    """No further than there were orders: one in ten thousand cannot be told from a thousand."""
    rarest = 100 * (1 - 1 / one["count"]) if "count" in one else _PERCENTS[-1]
    return [(_rarity(p), one["ms_by_percent"][_key(one, p)]) for p in _PERCENTS if p <= rarest]


def _key(one: Mapping[str, Any], percent: float) -> str:
    """Percents are written as 50.0 by Python, and as 50 by Lua."""
    return str(percent) if str(percent) in one["ms_by_percent"] else f"{percent:g}"


def _throughput(details: Mapping[str, Any]) -> str | None:
    series = details.get("http", {}).get("per_second")
    if not series:
        return None
    # The last second is not a whole one.
    seconds = series["second"][:-1]
    lines = [
        Line(label=label, points=list(zip(seconds, series[name], strict=False)))
        for name, label in (("placed", "accepted"), ("ended", "ended"))
    ]
    most = max(y for line in lines for _, y in line.points)
    x, y = linear("seconds", max(seconds)), linear("orders per second", most * 1.1)
    return line_chart("Orders over HTTP, second by second", x, y, lines)


def _growth(details: Mapping[str, Any]) -> str | None:
    steps = details.get("growth", {}).get("steps")
    if not steps:
        return None
    full = [(step["finished_orders"], step["grown_orders_per_s"]) for step in steps]
    beside = [(step["finished_orders"], step["empty_orders_per_s"]) for step in steps]
    start = [(0.0, beside[0][1])]
    lines = [Line(label="full tables", points=start + full), Line(label="empty, in turn", points=start + beside)]
    x = linear("finished orders in the tables", full[-1][0] * 1.02)
    return line_chart("Sagas per second as the tables grow", x, linear("orders per second", _most(lines)), lines)


def _most(lines: Sequence[Line]) -> float:
    return max(y for line in lines for _, y in line.points) * 1.15


def _cost(figures: Mapping[str, Any]) -> str | None:
    bars = {
        label: _grouped(figures[key])
        for key, label in (
            ("cpu_ms_per_order", "bulk"),
            ("http_cpu_ms_per_order", "HTTP"),
            ("growth_cpu_ms_per_order", "full tables"),
            ("naive_cpu_ms_per_order", "naive"),
            ("floor_databases_cpu_ms_per_order", "rows alone"),
        )
        if key in figures
    }
    return stacked_bars("CPU time of one order", "ms", bars) if bars else None


def _grouped(cost: Mapping[str, float]) -> dict[str, float]:
    groups = {name: 0.0 for name, _ in _GROUPS}
    for component, ms in cost.items():
        group = next((name for name, marks in _GROUPS if any(_is_of(component, mark) for mark in marks)), None)
        if group:
            groups[group] += ms
    return groups


def _is_of(component: str, mark: str) -> bool:
    if component.startswith("postgres"):
        return mark == "postgres"
    return component.startswith(mark) or component.endswith(mark)


def _memory(details: Mapping[str, Any]) -> str | None:
    samples = details.get("memory", {}).get("samples")
    if not samples:
        return None
    names = sorted(samples[-1], key=lambda name: -float(samples[-1][name]))[:6]
    lines = [Line(label=n, points=[(s, sample[n]) for s, sample in enumerate(samples) if n in sample]) for n in names]
    x, y = linear("seconds under load", len(samples)), linear("resident MB", _most(lines))
    return line_chart("Memory of the six largest processes", x, y, lines)


def _before_after(figures: Mapping[str, Any], before: Mapping[str, Any]) -> str | None:
    if "cpu_ms_per_order" not in figures or "cpu_ms_per_order" not in before:
        return None
    bars = {"before": _grouped(before["cpu_ms_per_order"]), "after": _grouped(figures["cpu_ms_per_order"])}
    return stacked_bars("CPU time of one order placed in bulk, before and after", "ms", bars)
