"""What would happen to dead letters that were sent back now, as their consumers say.

Owns: asking each consumer about its own, in parts. Must not know: endpoints; how a service knows.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.access import caller
from gateway.admin.selecting import Selected
from gateway.at_once import ask_at_once
from gateway.services import trusted_services
from shared.errors import OrderSagaError
from shared.messaging.letters import Letter, fresh_properties

AT_ONCE = 25
TIMEOUT_S = 10.0
CANNOT_BE_SENT, UNKNOWN = "cannot_be_sent", "unknown"
_PLAIN = (str, int, float, bool, type(None))
_PROPERTIES = ("message_id", "type", "correlation_id", "app_id", "timestamp", "content_type", "content_encoding")

Verdict = Mapping[str, Any]


def foresee(letters: Sequence[Selected]) -> list[dict[str, Any]]:
    """For each {"verdict", "decision", "events"}, in the order of ``letters``, which come with their content."""
    verdicts: list[Any] = [_unsendable(selected) for selected in letters]
    asked: dict[str, list[int]] = {}
    for place, selected in enumerate(letters):
        if selected.unsendable is None:
            asked.setdefault(selected.consumer, []).append(place)
    client, who = trusted_services(), caller()

    def ask(service: str) -> list[Verdict]:
        places = asked[service]
        parts = [places[start : start + AT_ONCE] for start in range(0, len(places), AT_ONCE)]
        return [verdict for part in parts for verdict in _ask(client, who, service, [letters[p] for p in part])]

    for service, answers in ask_at_once(list(asked), ask).items():
        for place, verdict in zip(asked[service], answers, strict=True):
            verdicts[place] = verdict
    return verdicts


def _ask(client: Any, who: Any, service: str, letters: Sequence[Selected]) -> Sequence[Verdict]:
    documents = [_document(selected.event, selected.letter) for selected in letters if selected.letter]
    try:
        answers: Sequence[Verdict] = client.call(
            service, "foresee_events", timeout_s=TIMEOUT_S, caller=who, letters=documents
        )
        return answers
    except OrderSagaError as error:
        return [_verdict(UNKNOWN, f"{service}: {error.code}")] * len(letters)


def _unsendable(selected: Selected) -> dict[str, Any] | None:
    stop = selected.unsendable
    return _verdict(CANNOT_BE_SENT, f"{stop.code}: {stop.detail}") if stop else None


def _verdict(verdict: str, decision: str) -> dict[str, Any]:
    return {"verdict": verdict, "decision": decision, "events": []}


def _document(event: str, letter: Letter) -> dict[str, Any]:
    """As it would arrive, with what its consumer reads of it."""
    sent = fresh_properties(letter)
    return {
        "event": event,
        "body": b64encode(letter.body).decode(),
        "properties": {name: _plain(getattr(sent, name)) for name in _PROPERTIES},
        "headers": {name: _plain(value) for name, value in (sent.headers or {}).items()},
    }


def _plain(value: Any) -> Any:
    """No reader takes anything else: whatever stands for it is refused for the same reason."""
    return value if isinstance(value, _PLAIN) else {}
