"""Owns: the lines about one order, picked out of the logs of all processes. Must not know: what the lines mean.

A line is about an order if it bears the order's id, or an id of a request that asked for something about it. Lines
about many orders (shared.order_log) are taken apart: what is left says something of this one only.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from ops.errors import StackError

_ORDERS = "orders"
_ENVELOPE = ("timestamp", "process", "event", "level", "module")
_WORTHLESS = frozenset({"", "None"})


class Orders(Protocol):
    """What is asked of an OperatorClient."""

    def get(self, path: str, **query: object) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that a process said of the order; ``fields`` are whatever it said beside its name."""

    at: datetime
    process: str
    event: str
    level: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "timestamp": self.at.isoformat().replace("+00:00", "Z"),
            "process": self.process,
            "level": self.level,
            "event": self.event,
            **self.fields,
        }


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The order, and the ids under which things were asked or done for it."""

    order_id: str
    others: frozenset[str] = frozenset()

    def is_named_in(self, line: bytes) -> bool:
        """A look at the bytes first: most lines are about other orders, and need not be read."""
        return any(id_.encode() in line for id_ in (self.order_id, *self.others))

    def told_by(self, text: bytes, process: str | None = None) -> Line | None:
        """What a line of a log says of it; None if that is nothing, or no line of ours."""
        if not self.is_named_in(text):
            return None
        try:
            said = json.loads(text)
            at = datetime.fromisoformat(said["timestamp"])
            event = str(said["event"])
        except (ValueError, TypeError, KeyError):
            return None
        kept = self._own_part(said)
        if kept is None:
            return None
        fields = {name: value for name, value in kept.items() if name not in _ENVELOPE}
        return Line(
            at=at if at.tzinfo else at.replace(tzinfo=UTC),
            process=process or str(said.get("process", "?")),
            event=event,
            level=str(said.get("level", "")),
            fields=fields,
        )

    def _own_part(self, said: dict[str, Any]) -> dict[str, Any] | None:
        """Of lists that go with ``orders`` the elements at this order's place, under the name of one of them."""
        orders = said.get(_ORDERS)
        if not isinstance(orders, list):
            return said if said.get("order_id") in (None, self.order_id) else None
        places = [number for number, order in enumerate(orders) if order == self.order_id]
        if not places:
            return None
        kept: dict[str, Any] = {}
        for name, value in said.items():
            if name == _ORDERS:
                continue
            if isinstance(value, list) and len(value) == len(orders):
                own = [value[place] for place in places]
                kept[name.removesuffix("s")] = own[0] if len(own) == 1 else own
            else:
                kept[name] = value
        return kept


def subject(order_id: str, orders: Orders) -> tuple[Subject, str]:
    """With the ids that its timeline names; and why not, if the gateway cannot be asked."""
    try:
        order = orders.get(f"/orders/{order_id}")
    except StackError as error:
        return Subject(order_id=order_id), error.message
    named = {order.get("correlationId"), order.get("paymentId"), (order.get("payment") or {}).get("paymentId")}
    named |= {entry.get("correlationId") for entry in order.get("timeline", ())}
    others = {str(id_) for id_ in named} - _WORTHLESS - {order_id}
    return Subject(order_id=order_id, others=frozenset(others)), ""


def story(subject: Subject, logs: Mapping[str, Path]) -> list[Line]:
    """From all logs, rotated ones too, in the order of their clocks."""
    told = [line for name, path in logs.items() for text in _lines(path) if (line := subject.told_by(text, name))]
    return sorted(told, key=lambda line: line.at)


def story_in(subject: Subject, lines: Iterable[bytes]) -> list[Line]:
    """The same from lines that come from elsewhere, such as `docker compose logs --no-log-prefix`."""
    return sorted((line for text in lines if (line := subject.told_by(text))), key=lambda line: line.at)


def _lines(path: Path) -> Iterator[bytes]:
    for part in (path.with_suffix(".log.1"), path):
        try:
            with part.open("rb") as log:
                yield from log
        except FileNotFoundError:
            continue
