"""``python -m benchmarks.plots``: put the results of a run into docs/performance.md, with plots.

Owns: reading and writing the files. Without a file of results the page is made anew out of those it was made of before.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from benchmarks.plots.page import BEFORE, IMAGES, PAGE, RESULTS, drawn, filled


@click.command()
@click.option("--results", type=click.Path(path_type=Path, exists=True), help="What `make bench` wrote.")
@click.option("--before", type=click.Path(path_type=Path, exists=True), help="The same of an earlier state.")
def main(results: Path | None, before: Path | None) -> None:
    """Write docs/performance.md and docs/images/bench-*.svg, and keep the results beside the page."""
    for given, kept in ((results, RESULTS), (before, BEFORE)):
        if given is not None:
            kept.write_text(json.dumps(json.loads(given.read_text(encoding="utf-8"))) + "\n", encoding="utf-8")
    now, then = (json.loads(path.read_text(encoding="utf-8")) if path.exists() else None for path in (RESULTS, BEFORE))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), now, then), encoding="utf-8")
    for name, svg in (drawn(now, then) if now else {}).items():
        (IMAGES / name).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
