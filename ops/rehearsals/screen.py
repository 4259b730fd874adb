"""Owns: how a rehearsal looks on a screen. Must not know: how it is run, or what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from ops.display import plain
from ops.rehearsals.measuring import Measured, change_of, titles
from ops.rehearsals.options import Options
from ops.rehearsals.playing import Grid, Step
from ops.rehearsals.rehearsal import Place, Rehearsal
from ops.rehearsals.report import Report
from ops.scenarios.script import Finding

_LOG_WIDTH = 130


class Screen:
    """Tells each thing as it happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        if not console.is_terminal:
            # In a log, lines may be as long as they need to be.
            console.width = _LOG_WIDTH

    def say(self, line: str) -> None:
        self._console.print(f"[dim]· {plain(line)}[/]")

    def opening(self, rehearsal: Rehearsal, options: Options) -> None:
        self._console.rule(f"[bold]{plain(rehearsal.name)}")
        self._console.print(f"[bold]what[/]  {plain(rehearsal.what)}")
        self._console.print(f"[bold]why[/]   {plain(rehearsal.why)}")
        if options.values:
            chosen = ", ".join(f"{name} {value:g}" for name, value in options.values.items())
            self._console.print(f"[bold]with[/]  {plain(chosen)}")
        self._console.print("[bold]where to watch[/]")
        self._console.print(_places(rehearsal.watch))

    def already_broken(self, kinds: Sequence[str]) -> None:
        if kinds:
            words = plain(", ".join(kinds))
            self._console.print(f"[yellow]true already before, and so not counted:[/] {words}")

    def beginning(self) -> None:
        self._console.print("[bold]steps[/]")

    def step(self, step: Step) -> None:
        self._console.print(f"  {step.at_s:>7.1f} s  {plain(step.text)}")

    def finding(self, finding: Finding) -> None:
        if finding.is_as_expected:
            self._console.print(f"             [green]✓[/] {plain(finding.what)}: {plain(finding.seen)}")
            return
        said = f"{finding.what}: expected {finding.expected}, seen {finding.seen}"
        self._console.print(f"             [bold red]✗[/] {plain(said)}")

    def grid(self, grid: Grid) -> None:
        table = Table(*grid.headings, title=plain(grid.title), title_justify="left")
        for row in grid.rows:
            table.add_row(*(plain(cell) for cell in row))
        self._console.print(table)

    def closing(self, report: Report) -> None:
        self._console.print(_metrics(report.before, report.after))
        for violation in report.broken:
            self._console.print(f"[bold red]✗[/] broken: {plain(violation)}")
        if not report.broken:
            self._console.print("[green]✓[/] every order ended whole: no invariant is broken that held before")
        colour = "green" if report.is_as_foretold else "bold red"
        self._console.print(f"[{colour}]{plain(report.conclusion.verdict)}[/]")
        count = len(report.play.findings)
        self._console.print(
            f"{count} expectations, {'as foretold' if report.is_as_foretold else 'not as foretold'}, "
            f"{report.took_s:.0f} s"
        )


def _places(places: Sequence[Place]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2), show_header=False)
    for place in places:
        table.add_row(plain(place.where), plain(place.what))
    return table


def _metrics(before: Measured, after: Measured) -> Table:
    """What is 0 before and after is left out."""
    table = Table("counted", title="before and after (the whole stack)", title_justify="left")
    for heading in ("before", "after", "change"):
        table.add_column(heading, justify="right")
    for title in titles(before, after):
        if before.get(title) or after.get(title):
            change = change_of(before, after, title)
            shown = (
                _number(before.get(title, 0)),
                _number(after.get(title, 0)),
                f"+{_number(change)}" if change > 0 else _number(change),
            )
            table.add_row(plain(title), *shown)
    return table


def _number(value: Decimal | float | int) -> str:
    """A counter is whole, also where it comes as a float; a share need not be exact."""
    if isinstance(value, Decimal | int):
        return str(value)
    return f"{value:.0f}" if value == int(value) else f"{value:.3f}"
