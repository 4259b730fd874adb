"""Owns: whether a rehearsal has broken anything that was whole before. Must not know: what was played.

On a stack that people use there may be open orders or old trouble: only what is new counts.
"""

from __future__ import annotations

import re

from ops.invariants import Books, OpenWork, open_work, violations
from ops.waiting import holds_within

_SETTLE_S = 60.0
_DELIVERY_S = 60.0


class Audit:
    """Made before; asked afterwards."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._open = open_work(books)
        self.known = {kind_of(violation) for violation in violations(books)}
        """What was broken before."""

    def broken(self, *, settle_s: float = _SETTLE_S) -> list[str]:
        """Every invariant that is broken now and was not before, once nothing more is under way than was before."""
        holds_within(lambda: _is_no_more(open_work(self._books), self._open), timeout_s=settle_s)
        # What was published last may still be on its way to a consumer.
        holds_within(lambda: not self._new(), timeout_s=_DELIVERY_S)
        return self._new()

    def _new(self) -> list[str]:
        return [found for found in violations(self._books) if kind_of(found) not in self.known]


def kind_of(violation: str) -> str:
    """ "orders whose money is wrong", without how many and which."""
    return re.sub(r"^[0-9]+ ", "", violation).partition(":")[0]


def _is_no_more(now: OpenWork, before: OpenWork) -> bool:
    return now.orders <= before.orders and now.attempts <= before.attempts and now.unpublished <= before.unpublished
