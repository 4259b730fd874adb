"""Tabler's styles without those that no page of the gateway uses: a browser reads a fraction of them in the time.

Owns: what counts as used, the file that is served. Must not know: how anything looks.

Kept is every rule whose classes the gateway's templates, scripts and modules name, and every one without a class.
Names that are put together (``alert-${kind}``) keep all that begin like them. Needs the extra `dev`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import tinycss2

ROOT = Path(__file__).parents[2]
GATEWAY = ROOT / "gateway"
WHOLE = Path(__file__).with_name("tabler-1.6.1.min.css")
SERVED = GATEWAY / "dashboard" / "static" / "vendor" / "tabler-1.6.1.used.css"
_READ = (".html", ".js", ".py")
# Libraries for browsers; docs_page has its own one there.
_OTHERS = {"vendor", "docs_page"}
_NAME = re.compile(r"[A-Za-z][\w-]*")
_BEGINNING = re.compile(r"[A-Za-z][\w-]*-(?=\{|\$\{|[\"'] ?~)")
# Of these the contents are rules; of all others (fonts, animations) they are not.
_GROUPS = ("media", "supports", "layer", "container")


@dataclass(frozen=True, kw_only=True)
class Used:
    """Names that somebody may give an element."""

    names: Collection[str]
    beginnings: tuple[str, ...]

    def __call__(self, class_: str) -> bool:
        return class_ in self.names or class_.startswith(self.beginnings)


def used_by(texts: Iterable[str]) -> Used:
    """Whatever looks like a name: too many do no harm."""
    whole = "\n".join(texts)
    return Used(names=frozenset(_NAME.findall(whole)), beginnings=tuple(sorted(set(_BEGINNING.findall(whole)))))


def sources() -> Iterator[str]:
    """The gateway's own files, not those of others that it brings along."""
    for path in sorted(GATEWAY.rglob("*")):
        if path.suffix in _READ and not _OTHERS & set(path.parts):
            yield path.read_text(encoding="utf-8")


def without_unused(css: str, is_used: Callable[[str], bool]) -> str:
    """``css`` with its rules as they were, but for those, and those alternatives, that need an unused class."""
    return _written(tinycss2.parse_stylesheet(css, skip_whitespace=True), is_used)


def served() -> str:
    return without_unused(WHOLE.read_text(encoding="utf-8"), used_by(sources()))


def _written(rules: Iterable[Any], is_used: Callable[[str], bool]) -> str:
    return "".join(_rule(rule, is_used) for rule in rules)


def _rule(rule: Any, is_used: Callable[[str], bool]) -> str:
    if rule.type == "qualified-rule":
        kept = [part for part in _alternatives(rule.prelude) if all(map(is_used, _classes(part)))]
        selectors = ",".join(tinycss2.serialize(part) for part in kept)
        return f"{selectors}{{{tinycss2.serialize(rule.content)}}}" if kept else ""
    if rule.type == "at-rule" and rule.lower_at_keyword in _GROUPS and rule.content is not None:
        inner = _written(tinycss2.parse_rule_list(rule.content, skip_whitespace=True), is_used)
        return f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{inner}}}" if inner else ""
    return str(rule.serialize())


def _alternatives(prelude: Iterable[Any]) -> Iterator[list[Any]]:
    for is_comma, tokens in groupby(prelude, lambda each: bool(each == ",")):
        if not is_comma:
            yield list(tokens)


def _classes(selector: list[Any]) -> list[str]:
    """Those that an element must have: not what stands in ``:not(…)`` or ``:is(…)``."""
    return [str(name.value) for dot, name in pairwise(selector) if dot == "."]
