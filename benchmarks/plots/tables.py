"""The tables of docs/performance.md. Owns: their rows and words. Must not know: where they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]
# key, what it says, what was asked of it, whether that is met
_ASKED: Sequence[tuple[str, str, str, Callable[[Any], bool]]] = (
    ("saga_orders_per_s", "whole sagas per second, placed in bulk", "≥ 1,200", lambda v: v >= 1200),
    ("http_orders_per_s", "orders per second over HTTP, sustained", "≥ 400", lambda v: v >= 400),
    ("http_settled_after_s", "… and all sagas ended so many seconds after the last answer", "≤ 5", lambda v: v <= 5),
    ("saga_latency_ms_p50", "ms from the answer to CONFIRMED, one order at a time, median", "≤ 40", lambda v: v <= 40),
    ("saga_latency_ms_p99", "… 99th percentile", "≤ 150", lambda v: v <= 150),
    ("saga_latency_loaded_ms_p99", "ms from due to CONFIRMED at half of the HTTP rate, 99th percentile", "≤ 500",
     lambda v: v <= 500),
    ("relay_msgs_per_s", "events per second, one relay and a full outbox", "≥ 12,000", lambda v: v >= 12000),
    ("naive_ratio", "times as fast as the naive services", "≥ 8", lambda v: v >= 8),
    ("growth_ratio", "of the speed of empty tables with full ones", "≥ 0.9", lambda v: v >= 0.9),
    ("rss_mb_max", "MB, the largest of our processes", "≤ 150", lambda v: v <= 150),
)  # fmt: skip
_OTHERS = (
    ("naive_orders_per_s", "orders per second of the naive services"),
    ("naive_cpu_ratio", "times the CPU time of our order that a naive one takes"),
    ("floor_orders_per_s", "orders per second, if only rows and messages were written, bare"),
    ("floor_share", "of that floor the saga reaches"),
    ("floor_databases_orders_per_s", "orders per second, rows alone (pgbench, a hundred orders a transaction)"),
    ("floor_broker_msgs_per_s", "messages per second, bare, confirmed and consumed"),
    ("growth_finished_orders", "finished orders in the full tables"),
    ("growth_orders_per_s", "orders per second with them"),
    ("growth_cpu_ratio", "CPU time of an order with empty tables, over that with full ones"),
    ("backlog_events", "events piled up before the services start"),
    ("backlog_events_per_s", "of them applied per second"),
    ("backlog_ended_s", "seconds from the cold start until the last of these sagas has ended"),
    ("hot_orders", "customers at once for one item"),
    ("hot_confirmed", "of them confirmed: as many as there were units"),
    ("hot_ended_s", "seconds until all of them knew"),
    ("rss_orders", "orders after which memory was looked at"),
    ("rss_grew_mb_max", "MB that any process grew by from the third quarter of them to the fourth"),
    ("http_latency_ms_p99", "ms until the answer to POST at full load, 99th percentile"),
    ("loaded_rate_per_s", "orders per second of the half load"),
    ("loaded_late_ms_p99", "ms by which the load generator itself was late then, 99th percentile"),
    ("violations", "invariants broken at the end"),
    ("seconds", "seconds the whole run took"),
)

_SELDOM = 0.05


def summary(figures: Figures) -> str:
    rows = [
        (f"`{key}`", _number(figures[key]), words, asked, "✓" if is_met(figures[key]) else "✗")
        for key, words, asked, is_met in _ASKED
        if key in figures
    ]
    return _table(("key", "measured", "what", "asked", ""), rows)


def others(figures: Figures) -> str:
    rows = [(f"`{key}`", _number(figures[key]), words) for key, words in _OTHERS if key in figures]
    return _table(("key", "measured", "what"), rows)


def machine(figures: Figures) -> str:
    told, versions = figures["machine"], figures["versions"]
    rows = [
        ("command", f"`{figures['command']}`"),
        ("when, and on which commit", f"{figures['measured_at']}, `{figures['commit']}`"),
        ("machine", f"{told['cores']} cores of {told['processor']}, {told['memory_gb']} GB, {told['system']}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("a fixed piece of Python took, in ms, before and after each phase", _list(figures["calibration_ms"])),
    ]
    return _table(("", ""), rows)


def cost(figures: Figures) -> str:
    """CPU milliseconds per order: components down, loads across."""
    loads = {key: figures[key] for key in figures if key.endswith("cpu_ms_per_order")}
    names = [key.removesuffix("cpu_ms_per_order").rstrip("_").replace("_", " ") or "bulk" for key in loads]
    components = sorted({component for load in loads.values() for component in load} - {"all", "elsewhere"})
    rows = [
        (component, *(_number(load.get(component, 0.0)) for load in loads.values()))
        for component in [*components, "all"]
    ]
    return _table(("CPU ms per order", *names), rows)


def rows_written(details: Mapping[str, Any]) -> str:
    """Rows per order and table, of orders placed in bulk."""
    tables = details["saga"]["rows_per_order"]
    kinds = ("inserted", "updated", "updated in place")
    rows = [
        (name, *(_number(seen[kind]) for kind in kinds)) for name, seen in tables.items() if seen["inserted"] > 0.05
    ]
    return _table(("table", *kinds), rows)


def _list(values: Sequence[float]) -> str:
    return ", ".join(_number(value) for value in values)


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
