"""Owns: the numbers that a rehearsal can be given, for the real thing and for a short one.

Must not know: command lines, what they are for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Option:
    """``usual`` is for the real thing, ``short`` for CI."""

    name: str
    usual: float
    short: float
    least: float
    most: float
    meaning: str
    is_whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was chosen, by name."""

    values: Mapping[str, float]

    def number(self, name: str) -> float:
        return self.values[name]

    def whole(self, name: str) -> int:
        return int(self.values[name])


def chosen(options: Sequence[Option], given: Mapping[str, float | None], *, is_short: bool) -> Options:
    """What was given; for the rest, what is usual or short."""
    values = {}
    for option in options:
        value = given.get(option.name)
        values[option.name] = value if value is not None else option.short if is_short else option.usual
    return Options(values=values)
