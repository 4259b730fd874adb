"""Changes as messages: body, properties, and where they go.

Owns: the form in which a change leaves its database. Must not know: connections, or who reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pika

from shared.change_data import Change, Heartbeat
from shared.change_data.captured import HEARTBEAT, CapturedDatabase
from shared.messaging.pipelined_channel import Message


class Numbered:
    """Tells changes with the same position from one another, such as all the rows of a snapshot."""

    def __init__(self) -> None:
        self._lsn: int | None = None
        self._number = 0

    def of(self, lsn: int) -> int:
        self._number = self._number + 1 if lsn == self._lsn else 0
        self._lsn = lsn
        return self._number


def messages(captured: CapturedDatabase, batch: Sequence[Change | Heartbeat], numbered: Numbered) -> Iterator[Message]:
    for id_, each in enumerate(batch):
        if isinstance(each, Change):
            name = f"{each.database}:{each.lsn}:{each.table}:{numbered.of(each.lsn)}"
            yield _message(id_, captured, each.table, name, each.committed_at, _change_body(each))
        else:
            name = f"{each.database}:{each.lsn}:{HEARTBEAT}:0"
            yield _message(id_, captured, HEARTBEAT, name, each.at, _heartbeat_body(each))


def _message(id_: int, captured: CapturedDatabase, kind: str, name: str, at: datetime, body: bytes) -> Message:
    properties = pika.BasicProperties(
        message_id=name,
        type=f"{captured.database}.{kind}",
        timestamp=int(at.timestamp()),
        content_type="application/json",
        content_encoding="utf-8",
        app_id=captured.slot,
        delivery_mode=2,
    )
    exchange = captured.exchange(kind)
    return Message(id=id_, exchange=exchange, routing_key="", body=body, properties=properties, mandatory=True)


def _change_body(change: Change) -> bytes:
    said: dict[str, Any] = {
        "database": change.database,
        "table": change.table,
        "operation": change.operation,
        "before": change.before,
        "after": change.after,
        "lsn": change.lsn,
        "transactionId": change.transaction_id,
        "committedAt": _moment(change.committed_at),
        "isSnapshot": change.is_snapshot,
    }
    return orjson.dumps(said)


def _heartbeat_body(heartbeat: Heartbeat) -> bytes:
    said = {
        "database": heartbeat.database,
        "heartbeat": True,
        "lsn": heartbeat.lsn,
        "committedAt": _moment(heartbeat.at),
    }
    return orjson.dumps(said)


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
