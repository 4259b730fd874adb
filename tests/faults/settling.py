"""When is everything over, and is all whole then?

Owns: waiting for the end of all work, and everything that is looked at there. Must not know: which fault it was.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import psycopg2
from pika.exceptions import AMQPError

from ops.books import Books
from ops.errors import StackError
from ops.invariants import open_work, violations
from ops.management import ManagementApi
from ops.waiting import holds_within
from tests.harness.broker import Broker, DeadLetter
from tests.harness.promises import broken_promises

from .completeness import incomplete
from .fault import Arena, ArenaKind
from .load import Load

# Time to live, retry tiers, and what the broker needs to find a dead-letter queue again (three minutes).
SETTLE_S = 20 + 36 + 200.0
# What is on its way between two looks arrives within this; then nothing moves any more. RabbitMQ's figures are up to
# five seconds old.
_LAST_LOOK_S = 15.0
_PAUSE_S = 0.5
_SAID_EVERY_S = 10.0
_AWAY = (psycopg2.Error, StackError, AMQPError, OSError)


@dataclass(frozen=True, kw_only=True)
class Settled:
    """``took_s``: from the last order until nothing was under way. ``complaints``: every broken promise."""

    took_s: float
    complaints: Sequence[str]


@dataclass(kw_only=True)
class Settling:
    """Of one arena: dead letters that were seen are remembered, as reading takes them out of their queues."""

    arena: Arena
    load: Load
    settle_s: float = SETTLE_S
    _waits_for: str = ""
    _dead: dict[str, list[DeadLetter]] = field(default_factory=dict)

    def settle(self, since: datetime) -> Settled:
        """Wait until nothing is under way (or for ``settle_s``), then look at everything."""
        started = time.monotonic()
        self.load.pause()
        is_over = self._wait()
        took_s = time.monotonic() - started
        found = self._complaints(since)
        if is_over and found:
            # Nothing moves any more: what is wrong now stays wrong, but for what was just being said.
            holds_within(lambda: not self._complaints(since), timeout_s=_LAST_LOOK_S, pause_s=1.0)
            found = self._complaints(since)
        return Settled(took_s=took_s, complaints=found if is_over else [self._unfinished(), *found])

    def _wait(self) -> bool:
        """Says now and then what it waits for."""
        deadline_s = time.monotonic() + self.settle_s
        while not (is_over := holds_within(self._is_over, timeout_s=_SAID_EVERY_S, pause_s=_PAUSE_S)):
            if time.monotonic() >= deadline_s:
                break
            self.arena.say(f"waiting for {self._waits_for}")
        return is_over

    def _is_over(self) -> bool:
        self._waits_for = self._open()
        return not self._waits_for

    def _open(self) -> str:
        """What is still under way, in words; empty when nothing is."""
        if not self.load.is_quiet():
            return f"{self.load.tasks} customers"
        try:
            with Books(self.arena.environment) as books:
                work = open_work(books)
            return f"{work}" if not work.is_done else _words(self.queue_counts(), self._letter_complaints())
        except _AWAY as error:
            return f"{type(error).__name__}: {error}"

    def _complaints(self, since: datetime) -> list[str]:
        try:
            with Books(self.arena.environment) as books:
                found = [
                    *violations(books),
                    *broken_promises(books),
                    *incomplete(books, since, clocks_agree=self.arena.kind is not ArenaKind.CLOCKED),
                    *_against_ledger(books, self.load),
                ]
            return found + self._letter_complaints()
        except _AWAY as error:
            return [f"databases or broker do not answer: {type(error).__name__}: {error}"]

    def _letter_complaints(self) -> list[str]:
        broker = Broker(self.arena.environment["AMQP_URI"])
        try:
            for queue, letters in broker.all_dead().items():
                self._dead.setdefault(queue, []).extend(letters)
        finally:
            broker.close()
        return list(self.arena.letters.complaints(self._dead))

    def queue_counts(self) -> dict[str, int]:
        """Messages in work and retry queues, taken or not; those with none are left out."""
        queues = ManagementApi(self.arena.environment["ADMIN_MANAGEMENT_URL"]).queues()
        counts = {queue["name"]: int(queue.get("messages", 0)) for queue in queues}
        return {name: count for name, count in counts.items() if count and not name.endswith(".dead")}

    def _unfinished(self) -> str:
        return f"not settled after {self.settle_s:.0f} s: {self._waits_for}"

    def dead_letters(self) -> dict[str, list[DeadLetter]]:
        return self._dead


def _words(queues: dict[str, int], letters: list[str]) -> str:
    return f"queues {queues}" if queues else "; ".join(letters)


def _against_ledger(books: Books, load: Load) -> list[str]:
    """What customers were told, against the orders that exist: none lost, none placed twice."""
    ledger = load.ledger
    known = {row[0] for row in books.rows("order", "select id::text from orders")}
    accepted = set(ledger.accepted.values())
    found = list(ledger.wrong)
    if lost := sorted(accepted - known):
        found.append(f"{len(lost)} accepted orders are not in the database: {', '.join(lost[:5])}")
    if foreign := sorted(known - accepted):
        found.append(f"{len(foreign)} orders that no customer was told of: {', '.join(foreign[:5])}")
    if len(accepted) != len(ledger.accepted):
        found.append(f"{len(ledger.accepted)} keys, but {len(accepted)} orders: one order answered two keys")
    return found
