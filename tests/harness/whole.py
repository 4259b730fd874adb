"""What must hold once everything has settled, whatever happened before: the auditor's checks, and a few more.

Owns: when a test may say that all is well. Must not know: which faults there were.
"""

from __future__ import annotations

import time

from harness.broker import Broker
from harness.databases import Databases
from harness.promises import broken_promises
from harness.waiting import PAUSE_S
from ops.invariants import Books
from ops.invariants import violations as audited


def violations(databases: Databases) -> list[str]:
    """Every promise broken in the databases, in words; empty when all is well."""
    with Books(databases.environment) as books:
        return audited(books) + broken_promises(books)


def assert_whole(databases: Databases, broker: Broker, *, timeout_s: float = 150.0) -> None:
    """Nothing is broken for good: what is still under way gets ``timeout_s`` to settle. No event is a dead letter."""
    deadline = time.monotonic() + timeout_s
    while (found := violations(databases)) and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    found += [f"dead letters in {queue}: {letters[0].headers}" for queue, letters in broker.all_dead().items()]
    assert not found, found
