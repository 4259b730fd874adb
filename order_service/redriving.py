"""How dead letters go back to work: one first, then growing batches, and no more once one fails again. Pure.

Owns: the states of a run and of its letters, what is believed of a letter that was looked at, what happens next.
Must not know: anything outside the standard library; how letters are looked at or sent.

Nothing is kept of a run but its row and its letters' rows, and each step can be repeated: whoever drives it may die
between any two. A batch is SENDING before anything of it moves; what became of it is seen, not remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

FAILED_AGAIN, NO_OUTCOME = "failed_again", "no_outcome"
"""Why a run stops by itself."""
PATIENCE = timedelta(seconds=120)
"""An event that fails in a way that may pass is tried for 36 s before it is a dead letter again."""
MISSED_FOR = timedelta(seconds=10)
"""Somebody else who looks at a queue holds its letters for a moment: only what is away for longer is gone."""
POLL_S = 0.5


class RunState(StrEnum):
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    DONE = "DONE"


class LetterState(StrEnum):
    """SENDING: on its way, or not yet. SENT: it left. LEFT_OUT: it cannot be sent. GONE: somebody else took it.

    UNKNOWN: it left, and was neither applied nor became a dead letter again for as long as anybody waited.
    """

    SELECTED = "SELECTED"
    SENDING = "SENDING"
    SENT = "SENT"
    APPLIED = "APPLIED"
    FAILED_AGAIN = "FAILED_AGAIN"
    UNKNOWN = "UNKNOWN"
    GONE = "GONE"
    LEFT_OUT = "LEFT_OUT"


ON_THE_WAY = (LetterState.SENDING, LetterState.SENT)
ENDED_BADLY = (LetterState.FAILED_AGAIN, LetterState.UNKNOWN)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """``first`` letters, each batch ``factor`` times the one before, ``most`` at once, ``per_second`` over time."""

    first: int
    factor: float
    most: int
    per_second: float

    def beginning(self) -> int:
        return self._bounded(self.first)

    def after(self, size: int) -> int:
        return self._bounded(max(size + (self.factor > 1), int(size * self.factor)))

    def pause(self, sent: int) -> timedelta:
        """How long nothing more is sent after so many."""
        return timedelta(seconds=sent / self.per_second)

    def _bounded(self, size: int) -> int:
        """A second's worth at most, so that the rate holds within a batch too."""
        return max(1, min(size, self.most, int(self.per_second)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """One of the selection. ``since``: when it was sent; while it is SELECTED, since when it is missed."""

    number: int
    state: LetterState
    since: datetime | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What was seen of a letter. ``failed_again``: the error of a new dead letter of the same event.

    ``is_applied``: whether its consumer has it in the inbox; None where that is not known.
    """

    is_there: bool = False
    failed_again: str | None = None
    is_applied: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """``size`` of the next batch, not before ``next_at``. ``reason`` and ``detail``: why it is STOPPED."""

    state: RunState
    pace: Pace
    size: int
    next_at: datetime
    reason: str | None = None
    detail: str | None = None


class Step(StrEnum):
    """What comes next: send a batch, wait for the last one's outcome, wait because of the rate, or nothing more."""

    SEND = "send"
    AWAIT = "await_outcome"
    PACE = "pace"
    MISSING = "await_letters"
    STOPPED = "stopped"
    DONE = "done"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The run as it is now, the letters of the next batch by number, how long to wait if there is none."""

    run: Run
    step: Step
    batch: tuple[int, ...] = ()
    wait_s: float = 0.0


def believe(letter: Letter, sight: Sight, now: datetime) -> Letter:
    """What ``letter`` is after it was looked at. Only what is seen counts, not what was meant to happen."""
    if letter.state is LetterState.SELECTED:
        return _selected(letter, sight, now)
    if letter.state not in ON_THE_WAY:
        return letter
    if sight.is_there:
        # It never left; or it did, and whoever sent it died before taking it away. The inbox drops the second.
        return replace(letter, state=LetterState.SELECTED, since=None)
    sent_at = letter.since or now
    if sight.failed_again is not None:
        return replace(letter, state=LetterState.FAILED_AGAIN, since=now, detail=sight.failed_again)
    if sight.is_applied:
        return replace(letter, state=LetterState.APPLIED, since=now)
    if now - sent_at > PATIENCE:
        return replace(letter, state=LetterState.UNKNOWN, since=now, detail=_no_outcome(sight))
    return replace(letter, state=LetterState.SENT, since=sent_at)


def _selected(letter: Letter, sight: Sight, now: datetime) -> Letter:
    if sight.is_there:
        return replace(letter, since=None)
    missed_since = letter.since or now
    if now - missed_since > MISSED_FOR:
        return replace(letter, state=LetterState.GONE, since=now, detail="somebody else redrove or discarded it")
    return replace(letter, since=missed_since)


def _no_outcome(sight: Sight) -> str:
    if sight.is_applied is None:
        return f"its consumer did not answer for {PATIENCE.seconds} s"
    return f"neither applied nor a dead letter again after {PATIENCE.seconds} s"


def plan(run: Run, letters: Sequence[Letter], now: datetime, *, are_more: bool = False) -> Plan:
    """What comes next. ``letters``: those on their way and the next ones of the selection, as they are believed to be.

    ``are_more``: others of the selection, which were not looked at, have not ended either.
    """
    bad = [letter for letter in letters if letter.state in ENDED_BADLY]
    if bad:
        failed = [letter for letter in bad if letter.state is LetterState.FAILED_AGAIN]
        reason = FAILED_AGAIN if failed else NO_OUTCOME
        return _ended(run, RunState.STOPPED, Step.STOPPED, reason, (failed or bad)[0].detail)
    if any(letter.state in ON_THE_WAY for letter in letters):
        return Plan(run=run, step=Step.AWAIT, wait_s=POLL_S)
    left = [letter for letter in letters if letter.state is LetterState.SELECTED]
    if not left:
        return Plan(run=run, step=Step.MISSING) if are_more else _ended(run, RunState.DONE, Step.DONE)
    if now < run.next_at:
        return Plan(run=run, step=Step.PACE, wait_s=(run.next_at - now).total_seconds())
    there = [letter.number for letter in left if letter.since is None]
    if not there:
        return Plan(run=run, step=Step.MISSING, wait_s=POLL_S)
    batch = tuple(there[: run.size])
    size = run.pace.after(run.size)
    return Plan(run=replace(run, size=size, next_at=now + run.pace.pause(len(batch))), step=Step.SEND, batch=batch)


def _ended(run: Run, state: RunState, step: Step, reason: str | None = None, detail: str | None = None) -> Plan:
    return Plan(run=replace(run, state=state, reason=reason, detail=detail), step=step)


def resumed(run: Run, now: datetime) -> Run:
    """From the beginning of the ramp: whatever stopped it may still be there."""
    return replace(run, state=RunState.RUNNING, reason=None, detail=None, size=run.pace.beginning(), next_at=now)
