"""What is written down of a schedule: what was asked, what was published, what was done, what was wrong.

Owns: the words that world, scheduler and invariants share. Must not know: any of the three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .bus import Message

UNEXPECTED = "nothing fails in a way nobody thought of"
UNCHANGED = "an event never changes"
AT_REST = "everything comes to rest"
KEYS = "one key, one answer"


class Violation(AssertionError):
    """Something that must never be was seen. ``invariant`` is its name in invariants.py."""

    def __init__(self, invariant: str, message: str) -> None:
        self.invariant, self.message = invariant, message
        super().__init__(f"{invariant}: {message}")


@dataclass(kw_only=True)
class Request:
    """Something asked for from outside, perhaps several times, and all that was answered."""

    name: str
    service: str
    arguments: Mapping[str, Any]
    key: str | None
    sent_s: float
    answers: list[Any] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Published:
    """An event that left an outbox, as it was the first time."""

    type: str
    source: str
    aggregate_id: str
    causation_id: str | None
    payload: Mapping[str, Any]
    message: Message
    copies: int = 1

    @property
    def order_id(self) -> str | None:
        return self.payload.get("id")


@dataclass
class Tally:
    """What a run, or many of them, did. ``answers``: which event was answered with which."""

    schedules: int = 0
    steps: int = 0
    transactions: int = 0
    events: int = 0
    deliveries: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    transitions: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        self.schedules += other.schedules
        self.steps += other.steps
        self.transactions += other.transactions
        self.events += other.events
        self.deliveries += other.deliveries
        self.faults.update(other.faults)
        self.checks.update(other.checks)
        self.actions.update(other.actions)
        self.transitions.update(other.transitions)
        self.answers.update(other.answers)
