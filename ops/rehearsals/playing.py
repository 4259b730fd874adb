"""Owns: a rehearsal while it is played: steps with their times, trouble that ends with its block, tables and facts.

Must not know: which rehearsals there are, screens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from ops.applications import RELAYS
from ops.books import Books
from ops.errors import StackError
from ops.operator_client import OperatorClient
from ops.rehearsals.figures import Figure, samples_of
from ops.rehearsals.options import Options
from ops.scenarios.script import Finding, Script
from shared.chaos.kinds import KINDS, Where

_NOTE = "rehearsal"


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something that was done or seen, so many seconds after the beginning."""

    at_s: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A small table of a rehearsal's own."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


class Teller(Protocol):
    """Whoever tells what happens while it does."""

    def step(self, step: Step) -> None: ...

    def finding(self, finding: Finding) -> None: ...

    def grid(self, grid: Grid) -> None: ...


@dataclass(kw_only=True)
class Play(Script):
    """A script with more hands: an operator's, and an auditor's eyes. ``facts`` are what it is remembered by.

    ``environment`` is the stack's; ``external`` ours, which may name servers that a stack is to use.
    """

    options: Options
    environment: Mapping[str, str]
    external: Mapping[str, str]
    operator: OperatorClient
    books: Books
    teller: Teller
    steps: list[Step] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    began_s: float = field(default_factory=time.monotonic)

    def step(self, text: str) -> None:
        step = Step(at_s=time.monotonic() - self.began_s, text=text)
        self.steps.append(step)
        self.teller.step(step)

    def expect(self, what: str, expected: object, seen: object) -> None:
        super().expect(what, expected, seen)
        self.teller.finding(self.findings[-1])

    def grid(self, title: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        grid = Grid(title=title, headings=headings, rows=[[str(cell) for cell in row] for row in rows])
        self.grids.append(grid)
        self.teller.grid(grid)

    # Trouble

    @contextmanager
    def trouble(self, kind: str, target: str, *, at_most_s: float, amount: float | None = None) -> Iterator[None]:
        """A chaos switch, in force within the block. It would end by itself, whatever happens to us."""
        share = {} if amount is None else {"amount": amount}
        wanted = {"kind": kind, "target": target, "durationS": at_most_s, "note": _NOTE, **share}
        switch: Mapping[str, Any] | None = None
        try:
            switch = self.operator.post("/admin/chaos", wanted)
            self.until(lambda: self._bites(kind, target), f"{kind} of {target} bites")
            self.step(f"chaos on: {kind} of {target}")
            yield
        finally:
            # Interrupted before the answer came, it may be on all the same.
            for on in [switch] if switch else self._ours(kind, target):
                self._switch_off(on)

    def _ours(self, kind: str, target: str) -> list[Mapping[str, Any]]:
        """Switches of rehearsals for this; none if nobody can tell."""
        with suppress(StackError):
            switches = self.operator.get("/admin/chaos")["switches"]
            ours = (kind, target, _NOTE)
            return [switch for switch in switches if (switch["kind"], switch["target"], switch["note"]) == ours]
        return []

    def _switch_off(self, switch: Mapping[str, Any]) -> None:
        words = f"{switch['kind']} of {switch['target']}"
        try:
            self.operator.delete(f"/admin/chaos/{switch['id']}")
            self.step(f"chaos off: {words}")
        except StackError as error:
            # It may have ended by itself; and what else went wrong must not be hidden by this.
            self.step(f"{words} is not switched off ({error.message}); it ends at {switch['until']}")

    def _bites(self, kind: str, target: str) -> bool:
        """A relay says so in its figures, a service in its health."""
        if KINDS[kind].where is Where.RELAY:
            relay = next(name for name, service in RELAYS.items() if service == target)
            active = Figure(name="ordersaga_chaos_active", labels={"kind": kind, "target": target}, is_gauge=True)
            return active.of(samples_of(self.stage.stack, relay)) > 0
        marks = self.get("/admin/health").get("chaos", ())
        return any((mark["kind"], mark["target"]) == (kind, target) for mark in marks)

    # Orders, many of them, as an auditor sees them

    def statuses(self, order_ids: Sequence[str]) -> dict[str, int]:
        """ "CANCELLED (out_of_stock)" → how many of these."""
        return dict(self.books.rows("order", _STATUSES, (list(order_ids),)))

    def expect_counts(self, what: str, expected: Mapping[str, int], seen: Mapping[str, int]) -> None:
        """ "180 CANCELLED (out_of_stock), 20 CONFIRMED"; what is expected 0 times may be missing."""
        self.expect(what, _counted(expected), _counted(seen))

    def all_are(self, order_ids: Sequence[str], status: str) -> bool:
        return self.statuses(order_ids) == {status: len(order_ids)}

    def charged(self, order_ids: Sequence[str]) -> int:
        """For how many of them the money is taken, whoever knows of it by now."""
        return int(self.books.rows("payment", _CHARGED, (list(order_ids),))[0][0])


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()) if count) or "none"


_STATUSES = """
select status || coalesce(' (' || reason || ')', ''), count(*) from orders
where id = any(cast(%s as uuid[])) group by 1 order by 1
"""
_CHARGED = "select count(*) from payments where order_id = any(cast(%s as uuid[])) and status = 'SUCCEEDED'"
