"""docs/states.md from the services' own transition tables: what each happening does in each state, and why.

Owns: the page's Markdown. Must not know: any state or happening; the tables are handed in and only read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Rule: TypeAlias = Callable[..., Any]
Table: TypeAlias = Mapping[tuple[Any, type[Any]], Rule]

_HEADER = """# States

Generated from the `TRANSITIONS` tables of the three `domain.py` by `make contract`. Do not edit: `make check` compares.

Every pair of a state and a happening is decided; a test enumerates them. A dot is a happening that moves nothing there:
a repeat, one that came too late, or a fact that is only noted. The order's timeline records each one with the reason.
*Refused* is a request that is told no, with the error that says why.
"""


def states_page(tables: Mapping[str, Table]) -> str:
    """The whole page, ending in a newline."""
    sections = [_HEADER, *("\n".join(_service(service, table)) for service, table in tables.items())]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _service(service: str, table: Table) -> Iterator[str]:
    states = list(dict.fromkeys(state for state, _ in table))
    happenings = list(dict.fromkeys(happening for _, happening in table))
    yield f"## {service}"
    yield ""
    yield "| happening | " + " | ".join(str(state) for state in states) + " |"
    yield "|---" * (len(states) + 1) + "|"
    for happening in happenings:
        cells = [_cell(table[state, happening]) for state in states]
        yield f"| {_words(happening.__name__)} | " + " | ".join(cells) + " |"
    yield ""
    yield from _legend(table.values())


def _cell(rule: Rule) -> str:
    if _changes_nothing(rule):
        return "·"
    name = "refused" if rule.__qualname__.startswith("_refuse") else rule.__name__
    return name.strip("_").replace("_", " ")


def _legend(rules: Sequence[Rule] | Any) -> Iterator[str]:
    told: dict[str, str] = {}
    for rule in rules:
        if not _changes_nothing(rule) and rule.__doc__:
            told[_cell(rule)] = " ".join(rule.__doc__.split())
    for name, meaning in sorted(told.items()):
        yield f"- **{name}**: {meaning}"


def _changes_nothing(rule: Rule) -> bool:
    """A rule says so by its name: ``_nothing``, or one made by ``_recorded``."""
    return rule.__name__ == "_nothing" or rule.__qualname__.startswith("_recorded.")


def _words(name: str) -> str:
    """StockReserved → stock reserved."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
