"""One step of a redrive run: what became of the last batch is seen, and if all of it went well the next one is sent.

Owns: looking, asking the consumers, sending, and telling the order service what was seen and done. It keeps nothing:
whoever is killed in the middle leaves a run that the next step finds as it is.
Must not know: endpoints; when a run goes on or stops, which is the order service's to decide.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from gateway.access import caller
from gateway.admin.desk import HeldLetters, desk
from gateway.admin.selecting import queues_of, storable
from gateway.at_once import ask_at_once
from gateway.request_id import request_id
from gateway.services import ORDER_SERVICE, services, trusted_services
from shared.errors import BrokerUnavailable, OrderSagaError

SENDING_LIMIT_S = 8.0
"""Less than the lease that the order service gives for it."""
MOST_QUEUES = 3
_SELECTED = "SELECTED"

Work = Mapping[str, Any]
"""A letter of the run, as `claim_redrive` has it."""


def advance(run_id: str) -> dict[str, Any]:
    """{"redrive", "step", "waitS", "sent"}. Safe to repeat, and beside others who do the same.

    Raises RedriveNotFound, BrokerUnavailable (what was not recorded of the step is seen by the next one), and what
    asking the order service raises.
    """
    turn = _ask("claim_redrive", run_id=run_id)
    if turn["lease"] is None:
        return _told(turn, 0)
    try:
        return _drive(run_id, turn["lease"], turn["letters"])
    except OrderSagaError:
        # Nobody has to wait for a lease whose holder knows that it failed.
        with suppress(OrderSagaError):
            _record(run_id, turn["lease"], [])
        raise


def _drive(run_id: str, lease: str, letters: Sequence[Work]) -> dict[str, Any]:
    outcomes: list[dict[str, Any]] = []
    letters = _of_few_queues(letters)
    with desk().in_hand(_wanted(letters)) as hands:
        planned = _ask("plan_redrive", run_id=run_id, lease=lease, sights=_sights(letters, hands))
        batch = [letter for letter in letters if letter["number"] in planned["batch"]]
        try:
            _send(hands, batch, outcomes)
        except BrokerUnavailable:
            _record(run_id, lease, outcomes)
            raise
        # Before they are let go: the next look finds what is written.
        if batch:
            planned["redrive"] = _record(run_id, lease, outcomes)["redrive"]
    return _told(planned, sum(outcome["code"] is None for outcome in outcomes))


def _ask(method: str, **said: Any) -> Any:
    if method != "claim_redrive":
        said["request_id"] = request_id()
    return services().call(ORDER_SERVICE, method, **said)


def _record(run_id: str, lease: str, outcomes: Sequence[Mapping[str, Any]]) -> Any:
    return _ask("record_redrive", run_id=run_id, lease=lease, outcomes=outcomes)


def _told(answer: Mapping[str, Any], sent: int) -> dict[str, Any]:
    return {"redrive": answer["redrive"], "step": answer["step"], "waitS": answer["waitS"], "sent": sent}


def _of_few_queues(letters: Sequence[Work]) -> list[Work]:
    """All that are on their way; of the next ones those of as many queues as can be looked at within a lease."""
    on_the_way = [letter for letter in letters if letter["state"] != _SELECTED]
    upcoming = [letter for letter in letters if letter["state"] == _SELECTED]
    queues = queues_of(upcoming, "queue")[:MOST_QUEUES]
    return [*on_the_way, *(letter for letter in upcoming if letter["queue"] in queues)]


def _wanted(letters: Sequence[Work]) -> dict[str, list[str]]:
    """Where they lay, and where they would lie if they failed again; in full only what may be sent."""
    wanted: dict[str, list[str]] = {queue: [] for queue in queues_of(letters, "queue", "destination")}
    for letter in letters:
        wanted[letter["queue"]].append(letter["fingerprint"])
    return wanted


def _sights(letters: Sequence[Work], hands: HeldLetters) -> list[dict[str, Any]]:
    copies = {queue: hands.copies(queue) for queue in queues_of(letters, "queue")}
    # Of letters that are the same to the byte, those that never went are there rather than those that went.
    in_order = sorted(letters, key=lambda letter: letter["state"] != _SELECTED)
    sights = [_sight(letter, hands, copies[letter["queue"]]) for letter in in_order]
    _ask_consumers(in_order, sights)
    return sights


def _sight(letter: Work, hands: HeldLetters, copies: Counter[str]) -> dict[str, Any]:
    is_there = copies[letter["fingerprint"]] > 0
    copies[letter["fingerprint"]] -= is_there
    others = {
        glimpse.fingerprint: glimpse
        for glimpse in hands.glimpses(letter["destination"])
        if glimpse.identity == letter["identity"] and glimpse.fingerprint != letter["fingerprint"]
    }
    new = [glimpse for print_, glimpse in others.items() if print_ not in (letter["known"] or ())]
    failed = letter["state"] != _SELECTED and not is_there and new
    return {
        "number": letter["number"],
        "isThere": is_there,
        "failedAgain": (storable(new[-1].error or new[-1].reason) or "failed") if failed else None,
        "isApplied": None,
        "others": list(others),
    }


def _ask_consumers(letters: Sequence[Work], sights: Sequence[dict[str, Any]]) -> None:
    """Fills in whether those that left were applied; where a consumer does not answer, nobody knows."""
    asked: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for letter, sight in zip(letters, sights, strict=True):
        has_left = letter["state"] != _SELECTED and not sight["isThere"]
        if has_left and sight["failedAgain"] is None and letter["inboxId"] is not None:
            consumer = letter["destination"].partition(".")[0]
            asked.setdefault(consumer, {}).setdefault(letter["inboxId"], []).append(sight)
    client, who = trusted_services(), caller()

    def ask(service: str) -> list[str] | None:
        try:
            known: list[str] = client.call(service, "known_events", caller=who, event_ids=list(asked[service]))
            return known
        except OrderSagaError:
            return None

    for service, known in ask_at_once(list(asked), ask).items():
        for id_, waiting in asked[service].items():
            for sight in waiting:
                sight["isApplied"] = None if known is None else id_ in known


def _send(hands: HeldLetters, batch: Sequence[Work], outcomes: list[dict[str, Any]]) -> None:
    """As far as the time goes, and up to the first for which there is no room: of the rest nothing is said."""
    enough_at = time.monotonic() + SENDING_LIMIT_S
    for letter in batch:
        if time.monotonic() >= enough_at:
            return
        stop = hands.send(letter["queue"], letter["fingerprint"], letter["destination"])
        outcomes.append(
            {
                "number": letter["number"],
                "code": stop.code if stop else None,
                "detail": storable(stop.detail) if stop else None,
            }
        )
        if stop is not None and stop.code in ("unroutable", "refused"):
            return
