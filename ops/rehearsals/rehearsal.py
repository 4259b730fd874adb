"""Owns: what a rehearsal consists of, and what it foretells. Must not know: how it is run, screens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum

from ops.errors import StackError
from ops.rehearsals.figures import Figure
from ops.rehearsals.options import Option, Options
from ops.rehearsals.playing import Play
from ops.stack import Stack

Say = Callable[[str], None]


class Ending(StrEnum):
    """Whether customers, stock or money were hurt, or only would have been."""

    HARMLESS = "harmless"
    HURTS = "hurts"


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """How it ended, in a sentence with its numbers."""

    ending: Ending
    words: str

    @property
    def verdict(self) -> str:
        if self.ending is Ending.HARMLESS:
            return f"VERDICT: harmless: {self.words}"
        return f"VERDICT: hurts: {self.words}, and this is how it looks"


def harmless(words: str) -> Conclusion:
    return Conclusion(ending=Ending.HARMLESS, words=words)


def hurts(words: str) -> Conclusion:
    return Conclusion(ending=Ending.HURTS, words=words)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where to look meanwhile: a page, a queue, a command, a figure."""

    where: str
    what: str


@contextmanager
def running_stack(stack: Stack, _external: Mapping[str, str], _say: Say) -> Iterator[Stack]:
    """The stack that is there. Raises StackError."""
    if not any(process.name == "gateway" and process.pid for process in stack.processes()):
        raise StackError(f"nothing to rehearse on runs in {stack.folder}", hint="start it with `ordersaga up`")
    yield stack


House = Callable[[Stack, Mapping[str, str], Say], AbstractContextManager[Stack]]
"""The stack on which it is played, from the one that was asked for, the environment, and who is told of its start."""


def _no_settings(_options: Options) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """``foretold``: how it has to end. ``settings``: what the stack has to be set to meanwhile."""

    name: str
    what: str
    why: str
    watch: tuple[Place, ...]
    foretold: Ending
    play: Callable[[Play], Conclusion]
    options: tuple[Option, ...] = ()
    settings: Callable[[Options], Mapping[str, str]] = _no_settings
    figures: tuple[Figure, ...] = ()
    house: House = running_stack
