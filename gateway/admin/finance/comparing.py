"""Whether revenue and the ledger say the same. Pure.

Owns: the comparison, and telling a real difference from one that the view's age explains.
Must not know: where either comes from.

Twice, therefore: as it is now, and up to a moment that both know for certain. What differs now alone is on its way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

_NOTHING = {"captured": "0.00", "refunded": "0.00"}
_SUMS = ("captured", "refunded")


class Verdict(StrEnum):
    """The worst first."""

    DIFFERS = "differs"
    UNKNOWN = "unknown"
    BEHIND = "behind"
    AGREES = "agrees"


MEANINGS: Mapping[Verdict, str] = {
    Verdict.DIFFERS: "They differ in what both must know: something is wrong",
    Verdict.UNKNOWN: "Nothing can be said: one of the two is not known",
    Verdict.BEHIND: "What differs is on its way: the view is not as far as the ledger",
    Verdict.AGREES: "They say the same",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One currency. ``missing``: what the ledger says more than the view now, ``settled``: up to the moment known."""

    currency: str
    view: Mapping[str, str]
    ledger: Mapping[str, str]
    missing: Mapping[str, str]
    settled: Mapping[str, str]
    verdict: Verdict

    def document(self) -> dict[str, Any]:
        return {
            "currency": self.currency,
            "view": dict(self.view),
            "ledger": dict(self.ledger),
            "missing": dict(self.missing),
            "settledMissing": dict(self.settled),
            "verdict": self.verdict.value,
        }


def compare(
    now: Sequence[Mapping[str, Any]], settled: Sequence[Mapping[str, Any]], totals: Sequence[Mapping[str, Any]]
) -> list[Line]:
    """A line for each currency that either knows. ``now`` and ``settled`` are the view's, ``totals`` the ledger's."""
    view, cut = ({row["currency"]: row for row in rows} for rows in (now, settled))
    ledger = {row["currency"]: row for row in totals}
    return [
        _line(
            currency,
            _sums(view.get(currency, _NOTHING)),
            _sums(cut.get(currency, _NOTHING)),
            _sums(ledger.get(currency, _NOTHING)),
            _sums(ledger[currency]["settled"] if currency in ledger else _NOTHING),
        )
        for currency in sorted(view.keys() | cut.keys() | ledger.keys())
    ]


def _line(
    currency: str,
    view: Mapping[str, str],
    view_settled: Mapping[str, str],
    ledger: Mapping[str, str],
    ledger_settled: Mapping[str, str],
) -> Line:
    missing, settled = _more(ledger, view), _more(ledger_settled, view_settled)
    verdict = Verdict.DIFFERS if _any(settled) else Verdict.BEHIND if _any(missing) else Verdict.AGREES
    return Line(currency=currency, view=view, ledger=ledger, missing=missing, settled=settled, verdict=verdict)


def overall(lines: Sequence[Line]) -> Verdict:
    """The worst of them; nothing to compare agrees."""
    found = {line.verdict for line in lines}
    return next((verdict for verdict in Verdict if verdict in found), Verdict.AGREES)


def _sums(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: row[name] for name in _SUMS}


def _more(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    return {name: f"{Decimal(one[name]) - Decimal(other[name]):.2f}" for name in _SUMS}


def _any(sums: Mapping[str, str]) -> bool:
    return any(Decimal(value) for value in sums.values())
