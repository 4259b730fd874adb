"""Owns: what came of a rehearsal, for programmes, and whether it ended as foretold. Must not know: how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ops.rehearsals.measuring import Measured, change_of, titles
from ops.rehearsals.options import Options
from ops.rehearsals.playing import Play
from ops.rehearsals.rehearsal import Conclusion, Rehearsal, hurts


@dataclass(frozen=True, kw_only=True)
class Report:
    """``broken``: invariants that do not hold any more."""

    rehearsal: Rehearsal
    options: Options
    play: Play
    before: Measured
    after: Measured
    concluded: Conclusion | None
    broken: Sequence[str]
    took_s: float

    @property
    def is_as_foretold(self) -> bool:
        return self.conclusion.ending is self.rehearsal.foretold and not self._differences

    @property
    def conclusion(self) -> Conclusion:
        """What the rehearsal itself concluded; where anything differed, that."""
        if self._differences or self.concluded is None:
            return hurts(f"not as foretold ({'; '.join(self._differences) or 'it came to no end'})")
        return self.concluded

    @property
    def _differences(self) -> list[str]:
        different = [f for f in self.play.findings if not f.is_as_expected]
        said = [f"{finding.what}: expected {finding.expected}, seen {finding.seen}" for finding in different]
        return [*said, *self.broken]

    def document(self) -> dict[str, Any]:
        return {
            "scenario": self.rehearsal.name,
            "what": self.rehearsal.what,
            "options": dict(self.options.values),
            "steps": [{"atS": round(step.at_s, 3), "text": step.text} for step in self.play.steps],
            "expectations": [
                {"what": f.what, "expected": f.expected, "seen": f.seen, "ok": f.is_as_expected}
                for f in self.play.findings
            ],
            "tables": [
                {"title": grid.title, "headings": list(grid.headings), "rows": [list(row) for row in grid.rows]}
                for grid in self.play.grids
            ],
            "metrics": {
                title: {
                    "before": _plain(self.before.get(title, 0)),
                    "after": _plain(self.after.get(title, 0)),
                    "change": _plain(change_of(self.before, self.after, title)),
                }
                for title in titles(self.before, self.after)
            },
            "facts": self.play.facts,
            "brokenInvariants": list(self.broken),
            "foretold": self.rehearsal.foretold,
            "ending": self.conclusion.ending,
            "verdict": self.conclusion.verdict,
            "asForetold": self.is_as_foretold,
            "tookS": round(self.took_s, 1),
        }

    @property
    def exit_code(self) -> int:
        return 0 if self.is_as_foretold else 1


def _plain(value: Decimal | float | int) -> str | float | int:
    """Money stays exact."""
    return str(value) if isinstance(value, Decimal) else value
