"""One fault, from the first order before it to the proof after it.

Owns: the order of things in a trial, and what is measured. Must not know: which fault it is, screens.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import datetime

import psycopg2

from ops.books import Books
from ops.errors import StackError
from ops.waiting import holds_within

from .deliveries import Deliveries
from .fault import Arena, Fault, NotPossibleHere
from .goods import Goods
from .load import Load
from .processes import DidNotHappen
from .settling import Settling
from .stocktaker import Stocktaker

HOT_UNITS = 60
_LOAD_IS_BACK_S = 120.0
_FIGURES_LAG_S = 7.0

_OPEN_OF_BEFORE = """
select count(*) from orders where created_at <= cast(%s as timestamptz)
and (status in ('PENDING', 'RESERVED') or (status = 'CANCELLED' and settled_at is null)
     or (status = 'CONFIRMED' and fulfil_requested_at is not null))
"""
_NOW = "select clock_timestamp()"
_CLAIMS = "select event_type, count(*) from inbox where received_at >= cast(%s as timestamptz) group by event_type"


@dataclass(kw_only=True)
class Outcome:
    """What came of a trial.

    ``recovery_s``: from the end of the fault until every order placed before it had ended, while orders went on; None
    if they had not by the time limit. ``settled_s``: from the last order until nothing was under way. ``duplicates``:
    see deliveries.py. ``impossible``: why this machine could not do it.
    """

    fault: str
    orders: int = 0
    injected: int = 0
    recovery_s: float | None = None
    settled_s: float = 0.0
    duplicates: int = 0
    redelivered: int = 0
    held_back: int = 0
    took_s: float = 0.0
    complaints: list[str] = field(default_factory=list)
    impossible: str = ""

    @property
    def is_good(self) -> bool:
        return not self.complaints


@dataclass(frozen=True, kw_only=True)
class Stage:
    """An arena with everything that runs in it meanwhile."""

    arena: Arena
    load: Load
    goods: Goods
    settling: Settling
    stocktaker: Stocktaker
    deliveries: Deliveries
    warm_orders: int

    def try_fault(self, fault: Fault) -> Outcome:
        outcome, started = Outcome(fault=fault.name), time.monotonic()
        before, before_acks = self._counts(), self.deliveries.acknowledged()
        since = self.database_now()
        try:
            self._do(fault, outcome)
        except NotPossibleHere as impossible:
            outcome.impossible = str(impossible)
        except (DidNotHappen, StackError, psycopg2.Error) as error:
            outcome.complaints.append(f"the fault itself: {type(error).__name__}: {error}")
        settled = self.settling.settle(since)
        outcome.settled_s = settled.took_s
        outcome.complaints += [*settled.complaints, *self.stocktaker.complaints]
        after = self._counts()
        outcome.orders, outcome.held_back, outcome.redelivered = (a - b for a, b in zip(after, before, strict=True))
        outcome.duplicates = self._duplicates(since, before_acks)
        outcome.took_s = time.monotonic() - started
        return outcome

    def _do(self, fault: Fault, outcome: Outcome) -> None:
        self.goods.renew_hot(self.arena.chance, HOT_UNITS)
        self.load.resume()
        self._see_load("before the fault")
        outcome.injected = fault.inject(self.arena)
        healed_at, healed_s = self.database_now(), time.monotonic()
        if holds_within(lambda: self._has_ended(healed_at), timeout_s=self.settling.settle_s, pause_s=0.2):
            outcome.recovery_s = time.monotonic() - healed_s
        else:
            outcome.complaints.append("orders placed before the end of the fault did not end")
        self._see_load("after the fault")

    def _see_load(self, when: str) -> None:
        if not self.load.wait_for_more(self.warm_orders, timeout_s=_LOAD_IS_BACK_S):
            raise DidNotHappen(f"{self.warm_orders} orders within {_LOAD_IS_BACK_S:.0f} s {when}")

    def _has_ended(self, healed_at: datetime) -> bool:
        try:
            with Books(self.arena.environment) as books:
                return books.rows("order", _OPEN_OF_BEFORE, (healed_at,)) == [(0,)]
        except psycopg2.Error:
            return False

    def database_now(self) -> datetime:
        """By the clock that rows are stamped with; a database that is coming back is waited for."""
        moments: list[datetime] = []

        def asked() -> bool:
            try:
                with Books(self.arena.environment) as books:
                    moments.append(books.rows("order", _NOW)[0][0])
            except psycopg2.Error:
                return False
            return True

        if not holds_within(asked, timeout_s=60):
            raise DidNotHappen("the database did not come back within 60 s")
        return moments[-1]

    def _counts(self) -> tuple[int, int, int]:
        ledger = self.load.ledger
        return len(ledger.accepted), ledger.held_back, self.deliveries.redelivered()

    def _duplicates(self, since: datetime, before: dict[str, int]) -> int:
        """Taken off the queues, less what was applied. Each applied event was taken off: until then, figures lag."""
        with Books(self.arena.environment) as books:
            claims = {
                f"{service}_service.{type_}": count
                for service in ("order", "inventory", "payment")
                for type_, count in books.rows(service, _CLAIMS, (since,))
            }
        surplus: dict[str, int] = {}

        def has_caught_up() -> bool:
            self._count_deliveries()
            acks = self.deliveries.acknowledged()
            surplus.update({queue: acks[queue] - before.get(queue, 0) - claims.get(queue, 0) for queue in acks})
            return all(count >= 0 for count in surplus.values())

        # What the broker had counted and not told yet when it died, it will never tell: hence no more than this.
        holds_within(has_caught_up, timeout_s=_FIGURES_LAG_S, pause_s=0.5)
        return sum(max(0, count) for count in surplus.values())

    def _count_deliveries(self) -> None:
        try:
            self.deliveries.look()
        except StackError as error:
            self.arena.say(f"the broker's figures are not to be had: {error}")

    def for_fault(self, arena: Arena) -> Stage:
        """The same stage, with an arena whose chance is the fault's own."""
        return replace(self, arena=arena)
