"""The kinds of trouble that can be made on purpose: what each does, to whom, and how much of it there may be.

Owns: their names, limits and meanings. Must not know: services, where switches are kept, how trouble is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

LONGEST_S = 24 * 3600
USUAL_S = 300
MOST_DELAY_MS = 60_000
PROVIDER_TARGET = "psp"


class Where(StrEnum):
    """Who carries a kind out."""

    PROVIDER = "provider"
    CONSUMER = "consumer"
    RELAY = "relay"


class Unit(StrEnum):
    """What a switch's amount counts."""

    SHARE = "share"
    MILLISECONDS = "ms"
    NOTHING = "nothing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """``setting``: of the provider's behaviour, where that is what it changes."""

    where: Where
    unit: Unit
    meaning: str
    setting: str = ""

    @property
    def most(self) -> float:
        return {Unit.SHARE: 1.0, Unit.MILLISECONDS: float(MOST_DELAY_MS), Unit.NOTHING: 0.0}[self.unit]

    @property
    def has_amount(self) -> bool:
        return self.unit is not Unit.NOTHING


def _provider(unit: Unit, setting: str, meaning: str) -> Kind:
    return Kind(where=Where.PROVIDER, unit=unit, setting=setting, meaning=meaning)


def _consumer(unit: Unit, meaning: str) -> Kind:
    return Kind(where=Where.CONSUMER, unit=unit, meaning=meaning)


KINDS: Mapping[str, Kind] = {
    "psp_failure": _provider(Unit.SHARE, "failure_rate", "calls to the provider fail before anything is done"),
    "psp_latency": _provider(Unit.MILLISECONDS, "latency_ms", "every call to the provider takes this long"),
    "psp_timeout": _provider(Unit.SHARE, "hang_rate", "calls to the provider are neither done nor answered"),
    "psp_lost_answer": _provider(Unit.SHARE, "lost_answer_rate", "calls to the provider are done but not answered"),
    "psp_decline": _provider(Unit.SHARE, "decline_rate", "good charges are declined"),
    "consumer_delay": _consumer(Unit.MILLISECONDS, "each batch of events waits this long before it is handled"),
    "consumer_duplicate": _consumer(Unit.SHARE, "an event is put into its queue once more"),
    "consumer_drop_ack": _consumer(
        Unit.SHARE, "a batch is applied, but its events go back to the queue and come once more"
    ),
    "consumer_crash_before": _consumer(
        Unit.SHARE, "the process dies with a batch of new events in hand, before any of it is saved"
    ),
    "consumer_crash_after": _consumer(
        Unit.SHARE, "the process dies after a batch of new events is saved, before it is acknowledged"
    ),
    "consumer_error": _consumer(Unit.SHARE, "an event meets a transient error: tried again later, in the end dead"),
    "consumer_refusal": _consumer(Unit.SHARE, "an event is refused for good: it goes to the dead letters"),
    "relay_pause": Kind(where=Where.RELAY, unit=Unit.NOTHING, meaning="nothing leaves the outbox"),
}


def settings_of(amounts: Mapping[str, float]) -> dict[str, float]:
    """Setting of the provider's behaviour → value, for those of ``amounts`` (kind → amount) that are about it."""
    return {KINDS[kind].setting: amount for kind, amount in amounts.items() if KINDS[kind].setting}
