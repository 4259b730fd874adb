"""docs/performance.md: prose by people, figures by the results of a run.

Owns: the marks in the page, and what stands between them. Must not know: how anything was measured.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from benchmarks.plots import tables
from benchmarks.plots.charts import Results, charts
from ops.folder import PROJECT_FOLDER

PAGE = PROJECT_FOLDER / "docs" / "performance.md"
RESULTS = PROJECT_FOLDER / "docs" / "performance.json"
BEFORE = PROJECT_FOLDER / "docs" / "performance-before.json"
IMAGES = PROJECT_FOLDER / "docs" / "images"
NOT_YET = "*Not measured yet.*"
_BLOCK = re.compile(r"(<!-- (?P<kind>figures|plot): (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_TABLES: Mapping[str, Callable[[Results], str]] = {
    "summary": lambda results: tables.summary(results["figures"]),
    "others": lambda results: tables.others(results["figures"]),
    "machine": lambda results: tables.machine(results["figures"]),
    "cost": lambda results: tables.cost(results["figures"]),
    "rows": lambda results: tables.rows_written(results["details"]),
}


def drawn(results: Results, before: Results | None) -> dict[str, str]:
    """File name → SVG."""
    return {f"bench-{name}.svg": svg for name, svg in charts(results, before).items()}


def filled(page: str, results: Results | None, before: Results | None) -> str:
    """The page with everything between its marks made anew. Raises KeyError for a mark that nobody knows."""
    images = drawn(results, before) if results else {}

    def block(found: re.Match[str]) -> str:
        return f"{found[1]}{_content(found['kind'], found['name'], results, images)}\n{found[4]}"

    return _BLOCK.sub(block, page)


def _content(kind: str, name: str, results: Results | None, images: Mapping[str, str]) -> str:
    if kind == "plot":
        file = f"bench-{name}.svg"
        return f"![{name}](images/{file})" if file in images else NOT_YET
    make = _TABLES[name]
    return make(results) if results else NOT_YET
