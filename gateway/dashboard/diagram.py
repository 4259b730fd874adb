"""A saga as a sequence diagram: who told whom what, in the order of causes, and who is awaited.

Owns: lanes, arrows and where they are drawn. Must not know: Flask, services; it takes a timeline and the contract.

An event is one row: a line from its publisher's lane to those of its consumers. What people asked for (placing, paying,
shipping) is a row of its own before the event that came of it, since no event tells of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.choreography import Choreography

PEOPLE = "people"
LANES = (
    (PEOPLE, "Customer, seller"),
    ("order_service", "Order"),
    ("inventory_service", "Inventory"),
    ("payment_service", "Payment"),
)
_LEFT, _BETWEEN, _TOP, _ROW, _RIGHT = 150, 190, 60, 46, 110
_X = {name: _LEFT + number * _BETWEEN for number, (name, _) in enumerate(LANES)}
WIDTH = _X["payment_service"] + _RIGHT + 40

_FAILURES = ("INVENTORY_REJECTED", "PAYMENT_FAILED", "PAYMENT_REFUND_FAILED")
_COMPENSATIONS = ("ORDER_CANCELLED", "INVENTORY_REFUNDED", "PAYMENT_REFUNDED", "PAYMENT_CANCELLED", "ORDER_RETURNED")
# What a person asked for, by the event that came of it.
_ASKED = {"ORDER_CREATED": "place", "ORDER_APPROVED": "approve", "ORDER_FULFILLED": "ship", "ORDER_RETURNED": "return"}
# Kept in the order's timeline alone: what a person asked for, and no event.
_REQUESTS = {"FULFILMENT_REQUESTED": "ship"}
_CANCELLED_BY = {"customer": "cancel", "seller": "decline", "operator": "cancel (operator)"}
_WAITS_ON = {"customer": PEOPLE, "seller": PEOPLE, "inventory": "inventory_service", "payment": "payment_service"}
_IGNORED = "ignored"


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrow:
    """``kind``: forward, failure, compensation, ignored or asked. Coordinates are those of the drawing."""

    y: int
    from_x: int
    to_xs: tuple[int, ...]
    label: str
    kind: str
    at: str | None = None
    after_s: float | None = None
    note: str = ""
    status: str | None = None

    @property
    def label_x(self) -> int:
        """Beside the publisher's lane, on the side of its first consumer."""
        if not self.to_xs:
            return self.from_x + 12
        nearest = min(self.to_xs, key=lambda x: abs(x - self.from_x))
        return (self.from_x + nearest) // 2

    @property
    def words(self) -> str:
        """The row for whoever does not see the drawing."""
        return self.label.replace("_", " ").lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class Awaited:
    """The lane whose turn it is, what is expected of it, and until when (RFC 3339) if there is a deadline."""

    y: int
    x: int
    label: str
    until: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagram:
    height: int
    arrows: tuple[Arrow, ...]
    awaited: Awaited | None
    lanes: tuple[tuple[str, int], ...] = field(default=tuple((title, _X[name]) for name, title in LANES))
    width: int = WIDTH

    @property
    def top(self) -> int:
        return _TOP - 30

    @property
    def bottom(self) -> int:
        return self.height - 10


def draw(order: Mapping[str, Any], contract: Choreography) -> Diagram:
    """``order`` as the order service shows it, with its timeline, history, waitsFor, step and deadlineAt."""
    rows = list(_rows(order, contract))
    arrows = tuple(Arrow(y=_TOP + number * _ROW, **row) for number, row in enumerate(rows))
    y = _TOP + len(arrows) * _ROW
    awaited = _awaited(order, y)
    return Diagram(arrows=arrows, awaited=awaited, height=y + (_ROW if awaited else 0))


def _rows(order: Mapping[str, Any], contract: Choreography) -> Iterator[dict[str, Any]]:
    timeline: Sequence[Mapping[str, Any]] = order["timeline"]
    times = {event["eventId"]: datetime.fromisoformat(event["at"]) for event in timeline}
    statuses = {change["eventId"]: change["status"] for change in order["history"] if change.get("eventId")}
    for event in timeline:
        if (request := _REQUESTS.get(event["type"])) is not None:
            yield {**_from_people(request), "at": event["at"]}
            continue
        if (asked := _asked_for(event)) is not None:
            yield _from_people(asked)
        cause = event.get("causationId")
        yield {
            "from_x": _X.get(event["source"], _X["order_service"]),
            "to_xs": _consumers(event["type"], contract),
            "label": event["type"],
            "kind": _kind(event),
            "at": event["at"],
            "after_s": _seconds(times[event["eventId"]], times[cause]) if cause in times else None,
            "note": event.get("note") or "",
            "status": statuses.get(event["eventId"]),
        }


def _from_people(label: str) -> dict[str, Any]:
    return {"from_x": _X[PEOPLE], "to_xs": (_X["order_service"],), "label": label, "kind": "asked"}


def _asked_for(event: Mapping[str, Any]) -> str | None:
    if event["source"] != "order_service" or event.get("causationId"):
        return None
    if event["type"] == "ORDER_CANCELLED":
        return _CANCELLED_BY.get((event.get("payload") or {}).get("reason", ""))
    return _ASKED.get(event["type"])


def _consumers(event_type: str, contract: Choreography) -> tuple[int, ...]:
    event = contract.events.get(event_type)
    return tuple(sorted(_X[consumer.service] for consumer in event.consumers)) if event else ()


def _kind(event: Mapping[str, Any]) -> str:
    if event.get("decision") == _IGNORED:
        return _IGNORED
    if event["type"] in _FAILURES:
        return "failure"
    return "compensation" if event["type"] in _COMPENSATIONS else "forward"


def _seconds(later: datetime, earlier: datetime) -> float:
    """Never negative: the clocks of two services may differ by more than an event takes."""
    return max((later - earlier).total_seconds(), 0.0)


def _awaited(order: Mapping[str, Any], y: int) -> Awaited | None:
    lane = _WAITS_ON.get(order.get("waitsFor") or "")
    if lane is None:
        return None
    return Awaited(y=y, x=_X[lane], label=f"waits for {order.get('step')}", until=order.get("deadlineAt"))
