"""Crash points, seen from outside the processes: which the code has, ordering a death at one, hearing of it.

Owns: the folder that `injected/ordersaga_injected/crash_points.py` looks into. Must not know: load, invariants.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .injected.ordersaga_injected import crash_points as inside
from .injected.ordersaga_injected.importing import PACKAGES

ROOT = Path(__file__).parents[2]
INJECTED = Path(__file__).parent / "injected"


def in_the_code() -> Iterator[tuple[str, str]]:
    """Label and place (``shared/relay.py:123``) of every crash point."""
    for package in sorted(PACKAGES):
        for path in sorted((ROOT / package).rglob("*.py")):
            for line, label in inside.crash_points(path.read_text(encoding="utf-8")):
                yield label, f"{path.relative_to(ROOT)}:{line}"


@dataclass(frozen=True, kw_only=True)
class Death:
    """Who died: a process of the stack, at its ``passes``-th coming by since the order."""

    process: str
    pid: int
    passes: int


@dataclass(frozen=True, kw_only=True)
class CrashOrders:
    """Orders to the processes of one stack; they see each at once, and one of them carries it out."""

    folder: Path

    def settings(self) -> dict[str, str]:
        """What a process needs in its environment to take orders."""
        return {"PYTHONPATH": str(INJECTED), inside.VARIABLE: str(self.folder)}

    def give(self, label: str, passes: int) -> None:
        """Whoever comes by for the ``passes``-th time from now on dies."""
        self._death_note(label).unlink(missing_ok=True)
        order = self._order(label)
        order.parent.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"draft-{label}"
        draft.write_text(str(passes))
        draft.replace(order)

    def take_back(self, label: str) -> None:
        self._order(label).unlink(missing_ok=True)

    def death(self, label: str) -> Death | None:
        """Of the last order for this label; None while nobody has carried it out."""
        try:
            process, pid, passes = self._death_note(label).read_text().split()
        except (OSError, ValueError):
            return None  # not yet, or half written
        return Death(process=process, pid=int(pid), passes=int(passes))

    def passed(self) -> set[str]:
        """Labels that any process has come by, ordered or not."""
        folder = self.folder / "passed"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def _order(self, label: str) -> Path:
        return self.folder / "orders" / label

    def _death_note(self, label: str) -> Path:
        return self.folder / "deaths" / label
