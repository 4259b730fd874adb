"""Owns: a producer whose event has changed: a field more, a field renamed, a version that nobody reads yet.

Must not know: how a rehearsal is run; what the next release of the consumers is (next_release).
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from ops import redriving
from ops.dead_letters import discard_all, letters_of
from ops.for_a_while import settings_for_a_while
from ops.rehearsals.figures import Figure, samples_of
from ops.rehearsals.playing import Play
from ops.rehearsals.publishing import Message, publish
from ops.rehearsals.rehearsal import Conclusion, Ending, Place, Rehearsal, hurts
from ops.scenarios.script import count, words
from shared.event_contracts.compatibility import unreadable
from shared.event_contracts.releases import read_releases

NEXT_RELEASE = Path(__file__).with_name("next_release")
_EVENT, _EXCHANGE = "PAYMENT_SUCCESS", "payment_service.events"
_CONSUMERS = ("inventory_service", "order_service")
_UPCAST = Figure(name="ordersaga_events_upcast_total", labels={"event": _EVENT})
_AT_MOST_S = 600.0
_SHOWN = 80
_NOTE = "rehearsal: a drifted copy; the event itself follows"
_PACE = {"first": 1, "factor": 2, "most": 10, "perSecond": 50}
_RECORDED = """
select event_id::text, correlation_id, causation_id::text, occurred_at, payload from outbox
where aggregate_id = %s and event_type = %s
"""
Change = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What a producer makes of its own event."""

    name: str
    order_id: str
    message: Message


def _a_field_more(payload: dict[str, Any]) -> dict[str, Any]:
    return {**payload, "cardBrand": "visa"}


def _renamed(payload: dict[str, Any]) -> dict[str, Any]:
    return {("orderId" if name == "id" else name): value for name, value in payload.items()}


def play(play: Play) -> Conclusion:
    item = play.product()
    with ExitStack() as held_back:
        held_back.enter_context(play.trouble("relay_pause", "payment_service", at_most_s=_AT_MOST_S))
        play.step(
            "a new release of the payment service: its own events are held back, changed ones come in their place"
        )
        more = _drift(play, item, "a field more", _a_field_more, 1)
        silent = _drift(play, item, "id renamed, still version 1", _renamed, 1)
        second = _drift(play, item, "id renamed, version 2", _renamed, 2)
        drifts = (more, silent, second)
        with _rest_is_discarded(play, drifts):
            began_s = time.monotonic()
            for drift in drifts:
                publish(play.environment["AMQP_URI"], drift.message)
            play.expect(f"{more.name}: order", "CONFIRMED", words(play.ended(more.order_id)))
            play.expect(f"{more.name}: dead letters", 0, len(_letters(play, more)))
            _unregistered(play, silent, second)
            upcast = _registered(play, silent, second, held_back)
            stood_still_s = time.monotonic() - began_s
    _expect_endings(play, drifts)
    letters = 2 * len(_CONSUMERS)
    play.facts |= {"deadLetters": letters, "ordersHeldUp": 2, "stoodStillS": round(stood_still_s, 1), "upcast": upcast}
    return hurts(
        f"a field more did nothing, but renaming one made {letters} dead letters, and two paid orders stood still for "
        f"{stood_still_s:.0f} s. With version 2 registered and read, its letters were redriven and {upcast} events of "
        "version 1 upcast; what drifted under the old number could only be discarded. Nothing was lost or done twice"
    )


def _drift(play: Play, item: str, name: str, change: Change, version: int) -> Drift:
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


# Without a registered version


def _unregistered(play: Play, silent: Drift, second: Drift) -> None:
    for drift, reason in ((silent, "invalid_payload"), (second, "unknown_schema_version")):
        play.until(partial(_is_refused_by_both, play, drift), "both consumers have refused it")
        reasons = [letter["reason"] for letter in _letters(play, drift)]
        play.expect(f"{drift.name}: dead letters", _of_both(reason), ", ".join(reasons))
        play.expect(f"{drift.name}: order", "RESERVED", words(play.reserved(drift.order_id)))
        play.expect(f"{drift.name}: dry run", _of_both("invalid"), _verdicts(play, drift))
    letters = [*_letters(play, silent), *_letters(play, second)]
    rows = [[letter["queue"], letter["reason"], _short(letter["error"])] for letter in letters]
    play.grid("dead letters, as `ordersaga dead-letters show` has them", ("queue", "code", "error"), rows)
    play.expect("what `make check` would have said", "id is required and has no default, and 1.1 has none", _check())


def _is_refused_by_both(play: Play, drift: Drift) -> bool:
    return len(_letters(play, drift)) == len(_CONSUMERS)


def _of_both(word: str) -> str:
    return ", ".join([word] * len(_CONSUMERS))


def _short(error: object) -> str:
    """Without the error's own name."""
    return str(error).partition(": ")[2][:_SHOWN]


def _check() -> str:
    """The check of compatibility, asked about the renamed field as the next minor release."""
    released = read_releases()[_EVENT][-1].schema
    drifted = deepcopy(dict(released))
    drifted["properties"] = _renamed(drifted["properties"])
    drifted["required"] = ["orderId" if name == "id" else name for name in drifted["required"]]
    return "; ".join(f"{p.field} {p.said.replace('{writer}', '1.1')}" for p in unreadable(released, drifted))


# With one


def _registered(play: Play, silent: Drift, second: Drift, held_back: ExitStack) -> int:
    """How many events of version 1 the consumers of version 2 have read."""
    play.step(
        "version 2 is registered, and consumers that read it, and version 1 by an upcaster, are deployed (restart)"
    )
    with settings_for_a_while(play.stage.stack, play.external, {"PYTHONPATH": str(NEXT_RELEASE)}):
        play.expect(f"{second.name}: dry run", _of_both("will_apply"), _verdicts(play, second))
        play.expect(f"{silent.name}: dry run", _of_both("invalid"), _verdicts(play, silent))
        play.expect(f"{second.name}: redrive", "DONE", _redriven(play, second))
        play.expect(f"{second.name}: order", "CONFIRMED", words(play.ended(second.order_id)))
        held_back.close()
        play.step("the producer is put right: its events are published as version 1")
        play.expect(f"{silent.name}: order", "CONFIRMED", words(play.ended(silent.order_id)))
        # Of all three orders: what was applied in another form is dropped once it is read.
        read = [0]

        def all_are_read() -> bool:
            read.append(_upcast(play))
            return read[-1] >= 3 * len(_CONSUMERS)

        play.until(all_are_read, "version 1 is upcast")
        return read[-1]


def _upcast(play: Play) -> int:
    return int(_UPCAST.of(samples_of(play.stage.stack)))


def _redriven(play: Play, drift: Drift) -> str:
    run = play.operator.post("/admin/redrives", {"filter": _filter(drift), "pace": _PACE})
    ended = redriving.drive(play.operator, run, Console(file=io.StringIO()))
    return str(ended["state"])


def _expect_endings(play: Play, drifts: Sequence[Drift]) -> None:
    for drift in drifts:
        order = play.ended(drift.order_id)
        seen = f"{words(order)}, {_EVENT} applied {count(order, _EVENT)} time(s)"
        play.expect(f"{drift.name}: in the end", f"CONFIRMED, {_EVENT} applied 1 time(s)", seen)
    play.expect("dead letters left of it", 0, sum(len(_letters(play, drift)) for drift in drifts))


def _filter(drift: Drift) -> dict[str, str]:
    return {"event": _EVENT, "text": drift.message.event_id}


def _letters(play: Play, drift: Drift) -> list[Mapping[str, Any]]:
    return sorted(letters_of(play.operator, _filter(drift)), key=lambda letter: str(letter["queue"]))


def _verdicts(play: Play, drift: Drift) -> str:
    """Of a redrive that is only tried out: what each consumer says that it would do."""
    answer = play.operator.post("/admin/redrives/dry-run", {"filter": _filter(drift)})
    return ", ".join(letter["verdict"] for letter in answer["letters"])


@contextmanager
def _rest_is_discarded(play: Play, drifts: Sequence[Drift]) -> Iterator[None]:
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
        Place(where="UI, Queues", what="order_service.PAYMENT_SUCCESS.dead, inventory_service.PAYMENT_SUCCESS.dead"),
        Place(where="command", what="ordersaga dead-letters list"),
        Place(where="command", what="ordersaga dead-letters redrive --event PAYMENT_SUCCESS --dry-run"),
        Place(
            where="figures",
            what="ordersaga_events_dead_lettered_total (alerts: DeadLettersPresent, DeadLettersGrowing)",
        ),
    ),
    foretold=Ending.HURTS,
    play=play,
    figures=(Figure(name="ordersaga_orders_reached_status_total", labels={"status": "CONFIRMED"}),),
)
