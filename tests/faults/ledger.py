"""What the customers were told: the measure for what the databases must know.

Owns: accepted orders, answers that never came, answers that contradict each other. Must not know: HTTP, databases.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Ledger:
    """Written by the load's thread, read by others once the load is quiet.

    ``accepted``: key → order id. ``open_keys``: asked, not yet answered for good. ``wrong``: answers that break a
    promise, in words. ``answers``: how often which status came, the passing ones included.
    """

    accepted: dict[str, str] = field(default_factory=dict)
    open_keys: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    held_back: int = 0

    def accept(self, key: str, order_id: str) -> None:
        """One key is one order, however often it was answered."""
        known = self.accepted.setdefault(key, order_id)
        if known != order_id:
            self.wrong.append(f"key {key} was answered with two orders: {known} and {order_id}")

    def complain(self, words: str) -> None:
        self.wrong.append(words)
