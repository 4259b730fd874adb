"""How well the simulated provider behaves: settings that may be changed while it runs.

Owns: their names, defaults, limits and meanings. Must not know: where they are kept, what is done because of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One of them. ``is_whole``: 0.5 makes no sense."""

    default: float
    most: float
    meaning: str
    least: float = 0.0
    is_whole: bool = True


SETTINGS: Mapping[str, Setting] = {
    "latency_ms": Setting(default=0, most=600_000, meaning="every call takes this long"),
    "failure_rate": Setting(
        default=0, most=1, is_whole=False, meaning="share of the calls that fail before anything is done"
    ),
    "hang_rate": Setting(
        default=0, most=1, is_whole=False, meaning="share of the calls that are neither done nor answered"
    ),
    "lost_answer_rate": Setting(
        default=0, most=1, is_whole=False, meaning="share of the calls that are done but not answered"
    ),
    "decline_rate": Setting(default=0, most=1, is_whole=False, meaning="share of the good charges that are declined"),
    "slow_ms": Setting(default=3000, most=600_000, meaning="how long a charge of tok_slow takes"),
    "late_ms": Setting(default=45_000, most=_DAY_MS, meaning="how long the outcome of tok_async_late takes"),
    "webhook_delay_ms": Setting(
        default=500, most=_DAY_MS, meaning="from an asynchronous charge to the webhook with its outcome"
    ),
    "webhook_copies": Setting(default=1, least=1, most=20, meaning="how often each webhook is sent"),
    "webhook_shuffle": Setting(default=0, most=1, meaning="1: the outcome's webhook comes before charge.processing"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Behaviour:
    """All settings as they are now."""

    latency_ms: float = SETTINGS["latency_ms"].default
    failure_rate: float = SETTINGS["failure_rate"].default
    hang_rate: float = SETTINGS["hang_rate"].default
    lost_answer_rate: float = SETTINGS["lost_answer_rate"].default
    decline_rate: float = SETTINGS["decline_rate"].default
    slow_ms: float = SETTINGS["slow_ms"].default
    late_ms: float = SETTINGS["late_ms"].default
    webhook_delay_ms: float = SETTINGS["webhook_delay_ms"].default
    webhook_copies: float = SETTINGS["webhook_copies"].default
    webhook_shuffle: float = SETTINGS["webhook_shuffle"].default


def behaviour_of(stored: Mapping[str, float]) -> Behaviour:
    """Defaults with what is stored; a row that makes no sense (somebody wrote it by hand) counts for nothing."""
    return Behaviour(**{name: value for name, value in stored.items() if name in SETTINGS and not fault(name, value)})


def shown(behaviour: Behaviour) -> list[dict[str, Any]]:
    """Every setting as it is, with what it may be and what it means; JSON-ready."""
    return [
        {
            "name": name,
            "value": getattr(behaviour, name),
            "default": setting.default,
            "least": setting.least,
            "most": setting.most,
            "meaning": setting.meaning,
        }
        for name, setting in SETTINGS.items()
    ]


def faults(changes: Mapping[str, Any]) -> dict[str, str]:
    """Name → why it cannot be set so."""
    found = {name: fault(name, value) for name, value in changes.items()}
    return {name: words for name, words in found.items() if words}


def fault(name: str, value: Any) -> str | None:
    setting = SETTINGS.get(name)
    if setting is None:
        return f"unknown; there are: {', '.join(SETTINGS)}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "should be a number"
    # Written so that NaN does not fit.
    if not setting.least <= value <= setting.most:
        return f"should be {setting.least:g} to {setting.most:g}"
    return "should be a whole number" if setting.is_whole and value != int(value) else None
