"""Dead letters by consumer, event and error.

Owns: what is said of a group. Must not know: endpoints, the broker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.admin.desk import DeadLetterDesk
from gateway.admin.selecting import storable
from shared.messaging.fingerprints import fingerprint
from shared.messaging.letters import Letter


def groups(desk: DeadLetterDesk, queues: Sequence[str]) -> list[dict[str, Any]]:
    """Of what can be seen of each of ``queues``; the largest first. Raises BrokerUnavailable."""
    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    for queue in queues:
        for brief in desk.each(queue, _brief):
            group = found.setdefault((queue, brief["reason"]), _empty(queue, brief["reason"]))
            _add(group, brief)
    return sorted(found.values(), key=lambda group: -group["count"])


def _brief(letter: Letter) -> dict[str, Any]:
    return {
        "id": fingerprint(letter),
        "eventId": storable(letter.event_id),
        "correlationId": storable(letter.correlation_id),
        "error": storable(letter.error),
        "reason": storable(letter.reason),
        "failedAt": storable(letter.failed_at),
    }


def _empty(queue: str, reason: str | None) -> dict[str, Any]:
    consumer, _, event = queue.partition(".")
    named = {"consumer": consumer, "event": event, "queue": queue, "reason": reason}
    return {**named, "count": 0, "oldest": None, "newest": None, "example": {}}


def _add(group: dict[str, Any], brief: dict[str, Any]) -> None:
    group["count"] += 1
    failed_at = brief["failedAt"]
    if failed_at is not None:
        group["oldest"] = min(group["oldest"] or failed_at, failed_at)
    if not group["example"] or (failed_at or "") >= (group["newest"] or ""):
        group["newest"] = failed_at or group["newest"]
        group["example"] = {name: value for name, value in brief.items() if name != "reason"}
