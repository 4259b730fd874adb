"""Owns: a producer whose event has changed: a field more, a field renamed, a version that nobody reads.

Must not know: how a rehearsal is run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ops.dead_letters import discard_all, letters_of
from ops.rehearsals.figures import Figure
from ops.rehearsals.playing import Play
from ops.rehearsals.publishing import Message, publish
from ops.rehearsals.rehearsal import Conclusion, Ending, Place, Rehearsal, hurts
from ops.scenarios.script import types, words

_EVENT, _EXCHANGE = "PAYMENT_SUCCESS", "payment_service.events"
_CONSUMERS = ("inventory_service", "order_service")
_AT_MOST_S = 600.0
_SHOWN = 80
_NOTE = "rehearsal: a drifted copy; the event itself follows"
_RECORDED = """
select event_id::text, correlation_id, causation_id::text, occurred_at, payload from outbox
where aggregate_id = %s and event_type = %s
"""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What a producer makes of its own event."""

    name: str
    order_id: str
    message: Message


def play(play: Play) -> Conclusion:
    item = play.product()
    with play.trouble("relay_pause", "payment_service", at_most_s=_AT_MOST_S):
        play.step(
            "a new release of the payment service: its own events are held back, changed ones come in their place"
        )
        drifts = [_drift(play, item, name, change, version) for name, change, version in _CHANGES]
        with _letters_are_discarded(play, drifts):
            for drift in drifts:
                publish(play.environment["AMQP_URI"], drift.message)
            began_s = time.monotonic()
            _with_a_field_more(play, drifts[0])
            _not_registered(play, drifts[1:])
            stood_still_s = time.monotonic() - began_s
    play.step("the producer is put right: the events are published as they were released")
    for drift in drifts:
        play.expect(f"{drift.name}: order", "CONFIRMED", words(play.ended(drift.order_id)))
    play.expect("charged", [1, 1, 1], [types(play.order(d.order_id)).count(_EVENT) for d in drifts])
    play.expect("dead letters left of it", 0, sum(len(_letters(play, drift)) for drift in drifts))
    play.facts |= {"deadLetters": 2 * len(_CONSUMERS), "ordersHeldUp": 2, "stoodStillS": round(stood_still_s, 1)}
    return hurts(
        f"a field more did nothing; a renamed field and version 2, neither of them registered, made "
        f"{2 * len(_CONSUMERS)} dead letters: two paid orders stood still for {stood_still_s:.0f} s, until the "
        "producer was put right; nothing was lost or done twice"
    )


def _a_field_more(payload: dict[str, Any]) -> dict[str, Any]:
    return {**payload, "cardBrand": "visa"}


def _renamed(payload: dict[str, Any]) -> dict[str, Any]:
    return {("orderId" if name == "id" else name): value for name, value in payload.items()}


_CHANGES = (
    ("a field more, same version", _a_field_more, 1),
    ("id renamed to orderId, version not raised", _renamed, 1),
    ("version 2, which nobody reads", _renamed, 2),
)


def _drift(play: Play, item: str, name: str, change: Any, version: int) -> Drift:
    """A paid order, and what its payment's news has become."""
    order_id = play.place(item)
    play.until(lambda: bool(_recorded(play, order_id)), "the payment's news stands in the outbox")
    event_id, correlation_id, causation_id, occurred_at, payload = _recorded(play, order_id)[0]
    headers = {"causation_id": causation_id, "schema_version": version, "occurred_at": occurred_at.isoformat()}
    message = Message(
        exchange=_EXCHANGE,
        event=_EVENT,
        event_id=event_id,
        correlation_id=correlation_id,
        payload=change(payload),
        headers=headers,
    )
    play.step(f"order {order_id}: {name}")
    return Drift(name=name, order_id=order_id, message=message)


def _recorded(play: Play, order_id: str) -> list[tuple[Any, ...]]:
    return play.books.rows("payment", _RECORDED, (order_id, _EVENT))


def _with_a_field_more(play: Play, drift: Drift) -> None:
    play.expect(f"{drift.name}: order", "CONFIRMED", words(play.ended(drift.order_id)))
    play.expect(f"{drift.name}: dead letters", 0, len(_letters(play, drift)))


def _not_registered(play: Play, drifts: list[Drift]) -> None:
    reasons = ("invalid_payload", "unknown_schema_version")
    for drift, reason in zip(drifts, reasons, strict=True):
        play.until(lambda one=drift: len(_letters(play, one)) == len(_CONSUMERS), "both consumers have refused it")
        letters = _letters(play, drift)
        play.expect(f"{drift.name}: dead letters", [reason] * len(_CONSUMERS), [letter["reason"] for letter in letters])
        play.expect(f"{drift.name}: order", "RESERVED", words(play.order(drift.order_id)))
        play.expect(f"{drift.name}: dry run", ["invalid"] * len(_CONSUMERS), _verdicts(play, drift))
    rows = [
        [letter["queue"], letter["reason"], str(letter["error"]).partition(": ")[2][:_SHOWN]]
        for drift in drifts
        for letter in _letters(play, drift)
    ]
    play.grid("dead letters, as `ordersaga dead-letters show` has them", ("queue", "code", "error"), rows)


def _letters(play: Play, drift: Drift) -> list[Mapping[str, Any]]:
    wanted = {"event": _EVENT, "text": drift.message.event_id}
    return sorted(letters_of(play.operator, wanted), key=lambda letter: str(letter["queue"]))


def _verdicts(play: Play, drift: Drift) -> list[str]:
    """Of a redrive that is only tried out: what each consumer says that it would do."""
    wanted = {"event": _EVENT, "text": drift.message.event_id}
    answer = play.operator.post("/admin/redrives/dry-run", {"filter": wanted})
    return [letter["verdict"] for letter in answer["letters"]]


@contextmanager
def _letters_are_discarded(play: Play, drifts: list[Drift]) -> Iterator[None]:
    """Whatever happens: nobody should find them tomorrow and wonder."""
    try:
        yield
    finally:
        letters = [letter for drift in drifts for letter in _letters(play, drift)]
        done = sum(outcome["done"] or 0 for outcome in discard_all(play.operator, letters, _NOTE))
        play.step(f"{done} drifted dead letters are discarded, with a note in the audit log")


REHEARSAL = Rehearsal(
    name="schema_drift",
    what="The payment service publishes an event that has changed: a field more, a field renamed, a new version.",
    why="Whoever changes an event without registering its version stops orders that are paid already.",
    watch=(
        Place(
            where="dashboard", what="/admin/dead-letters: by consumer, event and error; /admin/sagas: the orders wait"
        ),
        Place(
            where="UI, Queues",
            what="order_service.PAYMENT_SUCCESS.dead, inventory_service.PAYMENT_SUCCESS.dead: Get messages",
        ),
        Place(
            where="command",
            what="ordersaga dead-letters list; ordersaga dead-letters redrive --event PAYMENT_SUCCESS --dry-run",
        ),
        Place(
            where="figures",
            what="ordersaga_events_dead_lettered_total (alerts: DeadLettersPresent, DeadLettersGrowing)",
        ),
    ),
    foretold=Ending.HURTS,
    play=play,
    figures=(
        Figure(name="ordersaga_events_dead_lettered_total", labels={"event": _EVENT, "code": "unknown_schema_version"}),
        Figure(name="ordersaga_events_dead_lettered_total", labels={"event": _EVENT, "code": "invalid_payload"}),
    ),
)
