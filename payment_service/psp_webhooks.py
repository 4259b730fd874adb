"""What the simulated provider tells about an asynchronous charge: which webhooks, what they say, when they are due.

Owns: the bodies, their order and their copies. Must not know: databases, how anything is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from payment_service.psp_behaviour import Behaviour
from shared.envelope import new_id

PROCESSING, SUCCEEDED, FAILED = "charge.processing", "charge.succeeded", "charge.failed"
_DECIDED_WITHIN = timedelta(milliseconds=500)
_COPIES_APART = timedelta(milliseconds=100)


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When an asynchronous charge is settled in the book, and when its outcome is told: never before."""

    settles_at: datetime
    told_at: datetime


def schedule(behaviour: Behaviour, *, is_late: bool, now: datetime) -> Schedule:
    delay = timedelta(milliseconds=behaviour.webhook_delay_ms)
    if is_late:
        late = now + max(delay, timedelta(milliseconds=behaviour.late_ms))
        return Schedule(settles_at=late, told_at=late)
    return Schedule(settles_at=now + min(delay, _DECIDED_WITHIN), told_at=now + delay)


def webhook_rows(
    charge: dict[str, Any], told_at: datetime, behaviour: Behaviour, now: datetime
) -> list[dict[str, Any]]:
    """Two events of ``charge`` (a row of the book), each as often as the behaviour says.

    They tell what was decided when the charge was made: a void in between does not change them. Such things are
    under way when they are overtaken, and whoever gets them has to bear it.
    """
    ended = FAILED if charge["reason"] else SUCCEEDED
    copies = int(behaviour.webhook_copies)
    overtaken = told_at + copies * _COPIES_APART
    return [
        *_copies(charge, PROCESSING, overtaken if behaviour.webhook_shuffle else now, copies, now),
        *_copies(charge, ended, told_at, copies, told_at),
    ]


def _copies(
    charge: dict[str, Any], kind: str, due_at: datetime, count: int, happened_at: datetime
) -> Sequence[dict[str, Any]]:
    event_id = f"evt_{new_id().hex}"
    body = _body(charge, kind, event_id, happened_at)
    return [
        {
            "event_id": event_id,
            "charge_key": charge["key"],
            "type": kind,
            "body": body,
            "due_at": due_at + number * _COPIES_APART,
        }
        for number in range(count)
    ]


def _body(charge: dict[str, Any], kind: str, event_id: str, happened_at: datetime) -> str:
    document = {
        "id": event_id,
        "type": kind,
        "data": {
            "key": charge["key"],
            "reference": charge["reference"],
            "status": kind.removeprefix("charge."),
            "reason": charge["reason"] if kind == FAILED else None,
        },
        "createdAt": happened_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    return orjson.dumps(document).decode()
