"""Errors that people make in systems like this one, put into running processes: a campaign must find each of them.

Owns: the errors, each a change of one module once it is imported. Must not know: how they are found.

tests/simulation/mutations.py has the same ones and more, for code that runs in one process; here nothing of ours may
be imported before the service itself does it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from . import importing

VARIABLE = "ORDERSAGA_SEEDED_ERROR"


def install() -> None:
    module, error = ERRORS[os.environ[VARIABLE]]
    importing.after_import(module, error)


def acknowledged_before_commit(consumer: Any) -> None:
    """Each event is acknowledged as it arrives; what happens to it later makes no difference to the broker."""

    class Acknowledged(consumer.Delivery):  # type: ignore[misc]
        __slots__ = ()

        def _settle(self, send: Any) -> None:
            pass

    arrived = consumer.BatchLane.arrived

    def hasty(self: Any, delivery: Any) -> None:
        delivery.acknowledge()
        arrived(self, Acknowledged(message=delivery.message, queue=delivery.queue))

    consumer.BatchLane.arrived = hasty


def inbox_in_its_own_transaction(inbox: Any) -> None:
    def apply_once(sessions: Any, events: Any, handle: Any, *, horizon: Any) -> Any:
        with inbox.transaction(sessions) as tx:
            fresh = inbox.claim(tx, events)
        with inbox.transaction(sessions) as tx:
            return handle(tx, fresh) if fresh else None

    inbox.apply_once = apply_once


def stock_without_condition(queries: Any) -> None:
    """Read before it is locked, then written whatever happened in between.

    Locked all the same, in its order: else two batches mostly deadlock, and undoing one of them hides the error.
    """
    locking = str(queries._AVAILABLE_FOR_UPDATE)
    if "for update" not in locking:
        raise RuntimeError("the stock is locked in another way now: this error must follow")
    peek = queries.text(locking.replace("for update", ""))
    locked = queries.stock_for_update

    def hasty(tx: Any, items: Any) -> Any:
        wanted = sorted(set(items))
        seen = {row.item: (row.on_hand, row.reserved) for row in tx.fetch(peek, items=wanted)} if wanted else {}
        locked(tx, wanted)
        return seen

    queries.stock_for_update = hasty


def silence_is_a_decline(handlers: Any) -> None:
    end_charge = handlers._end_charge

    def hasty(changes: Any, attempt: Any, answer: Any, *here: Any) -> Any:
        is_silent = isinstance(answer, handlers.Unanswered)
        return end_charge(changes, attempt, handlers.Declined(reason="card_declined") if is_silent else answer, *here)

    handlers._end_charge = hasty


def new_key_each_time(charger: Any) -> None:
    """Each try is a charge of its own to the provider, and nobody asks it what became of the one before."""

    def careless(self: Any, attempt: Any) -> Any:
        key = f"{attempt.id}-{attempt.tries}"
        token = attempt.token or "tok_success"
        return self._provider.charge(
            charger.Charge(key=key, amount=attempt.amount, currency=attempt.currency, token=token)
        )

    charger.Charger._charge = careless


def relay_by_cursor(sources: Any) -> None:
    """Only rows behind the last one that was read: whatever commits late has a smaller number, and is never seen."""
    window = sources.PollingSource.window
    sources.first_of_each_aggregate = lambda rows: rows

    def behind_the_last(self: Any) -> Any:
        last = getattr(self, "last_read", 0)
        rows = [row for row in window(self) if row.id > last]
        self.last_read = max([last, *(row.id for row in rows)])
        return rows

    sources.PollingSource.window = behind_the_last


def dead_letters_through_the_topic(settlement: Any) -> None:
    """Instead of its dead-letter queue an event goes to the exchange it came from, and so to every consumer again."""

    def dead_letter(self: Any, delivery: Any, error: Any) -> None:
        event_type = delivery.queue.partition(".")[2]
        self._move(delivery, error, event_type, exchange=delivery.exchange, attempts=delivery.attempts)

    settlement.Settlement.dead_letter = dead_letter


ERRORS: Mapping[str, tuple[str, Callable[[Any], None]]] = {
    "ack-before-commit": ("shared.messaging.batch_consumer", acknowledged_before_commit),
    "inbox-apart": ("shared.inbox", inbox_in_its_own_transaction),
    "stock-without-condition": ("inventory_service.queries", stock_without_condition),
    "silence-is-a-decline": ("payment_service.handlers", silence_is_a_decline),
    "new-key-each-time": ("payment_service.charger", new_key_each_time),
    "relay-by-cursor": ("shared.relaying.sources", relay_by_cursor),
    "dead-letters-through-topic": ("shared.messaging.settlement", dead_letters_through_the_topic),
}
