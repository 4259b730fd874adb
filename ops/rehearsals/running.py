"""Owns: the way of every rehearsal: prepare, count, play, count again, conclude; the stack is left as it was found.

Must not know: what is rehearsed, screens.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Protocol

from ops.books import Books
from ops.errors import StackError
from ops.for_a_while import settings_for_a_while
from ops.gateway_client import Refused
from ops.operator_client import OperatorClient
from ops.people import client_of
from ops.psp_client import PspClient
from ops.rehearsals.auditing import Audit
from ops.rehearsals.measuring import measure
from ops.rehearsals.options import Options
from ops.rehearsals.playing import Play, Teller
from ops.rehearsals.rehearsal import Conclusion, Rehearsal
from ops.rehearsals.report import Report
from ops.scenarios.script import NotSeen
from ops.scenarios.stage import Stage
from ops.stack import Stack


class Audience(Teller, Protocol):
    """Who is told of everything."""

    def say(self, line: str) -> None: ...

    def opening(self, rehearsal: Rehearsal, options: Options) -> None: ...

    def already_broken(self, kinds: Sequence[str]) -> None: ...

    def beginning(self) -> None: ...

    def closing(self, report: Report) -> None: ...


def rehearse(
    rehearsal: Rehearsal, stack: Stack, options: Options, audience: Audience, external: Mapping[str, str]
) -> Report:
    """Raises StackError where it cannot begin. ``external``: an environment that may name servers to use instead."""
    began_s = time.monotonic()
    audience.opening(rehearsal, options)
    with ExitStack() as open_:
        open_.enter_context(_interrupted_by_sigterm())
        house = open_.enter_context(rehearsal.house(stack, external, audience.say))
        # Before settings are changed: that restarts every process.
        _refuse_where_it_cannot_begin(house)
        open_.enter_context(_settings(house, external, rehearsal.settings(options)))
        report = _played(rehearsal, house, external, options, audience, open_, began_s)
    audience.closing(report)
    return report


@contextmanager
def _settings(house: Stack, external: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[None]:
    """Nothing is restarted where nothing is to be set."""
    if not wanted:
        yield
        return
    with settings_for_a_while(house, external, wanted):
        yield


def _played(
    rehearsal: Rehearsal,
    house: Stack,
    external: Mapping[str, str],
    options: Options,
    audience: Audience,
    open_: ExitStack,
    began_s: float,
) -> Report:
    books = open_.enter_context(Books(house.environment()))
    play = _prepared(rehearsal, house, external, options, books, audience)
    audit = Audit(books)
    audience.already_broken(sorted(audit.known))
    before = measure(house, books, rehearsal.figures)
    audience.beginning()
    play.began_s = time.monotonic()
    concluded = _concluded(rehearsal, play)
    broken = audit.broken()
    return Report(
        rehearsal=rehearsal,
        options=options,
        play=play,
        before=before,
        after=measure(house, books, rehearsal.figures),
        concluded=concluded,
        broken=broken,
        took_s=time.monotonic() - began_s,
    )


def _prepared(
    rehearsal: Rehearsal,
    house: Stack,
    external: Mapping[str, str],
    options: Options,
    books: Books,
    teller: Teller,
) -> Play:
    environment = house.environment()
    client = client_of(environment)
    return Play(
        name=rehearsal.name,
        client=client,
        stage=Stage(stack=house, provider=PspClient(environment["PSP_URL"])),
        options=options,
        environment=environment,
        external=external,
        operator=OperatorClient(client),
        books=books,
        teller=teller,
    )


def _refuse_where_it_cannot_begin(house: Stack) -> None:
    """With somebody else's trouble beside it, nobody could say what came of which."""
    environment = house.environment()
    if "PSP_URL" not in environment:
        raise StackError("the payment simulator does not run here", hint="start everything with `ordersaga up`")
    on = OperatorClient(client_of(environment)).get("/admin/chaos")["switches"]
    if on:
        words = ", ".join(f"{switch['kind']} of {switch['target']}" for switch in on)
        raise StackError(f"somebody makes trouble already: {words}", hint="wait for its end, or `ordersaga chaos off`")


def _concluded(rehearsal: Rehearsal, play: Play) -> Conclusion | None:
    try:
        return rehearsal.play(play)
    except (NotSeen, Refused, StackError, OSError, LookupError, TypeError, ValueError) as error:
        # An answer of another shape is a finding too; what was troubled is in order again by now.
        play.expect("the scenario", "played to its end", f"{type(error).__name__}: {error}")
        return None


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Whoever ends us that way finds everything tidied up as after Ctrl-C. Signals are the main thread's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
