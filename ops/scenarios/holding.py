"""Owns: stock held and corrected by hand. Must not know: how flows are run."""

from __future__ import annotations

import uuid
from typing import Any

from ops.scenarios.script import Flow, Script, words


def released(script: Script) -> None:
    item, reference = script.product(), f"stocktaking-{uuid.uuid4().hex[:6]}"
    hold = script.expect_answer("hold 3", "201", "/inventory/reserve", _hold(item, 3, reference=reference)).body
    script.expect_stock(item, 10, 3)
    taken = _hold(item, 1, reference=reference)
    script.expect_answer("its reference again", "409 reservation_exists", "/inventory/reserve", taken)
    script.expect_answer("more than there is", "409 out_of_stock", "/inventory/reserve", _hold(item, 8))
    key = str(uuid.uuid4())
    script.expect_answer("release", "200", "/inventory/release", _id(hold), key=key)
    again = script.expect_answer("the same again", "200", "/inventory/release", _id(hold), key=key)
    script.expect("answered from memory", True, again.is_replayed)
    script.expect_answer("release what has ended", "409 reservation_not_held", "/inventory/release", _id(hold))
    script.expect("status", "RELEASED", _status(script, hold))
    script.expect_stock(item, 10, 0)


def committed(script: Script) -> None:
    item = script.product()
    hold = script.ask("/inventory/reserve", _hold(item, 4)).body
    script.expect_answer("commit", "200", "/inventory/commit", _id(hold))
    script.expect_answer("release after that", "409 reservation_not_held", "/inventory/release", _id(hold))
    script.expect("status", "COMMITTED", _status(script, hold))
    script.expect_stock(item, 6, 0)


def expired(script: Script) -> None:
    item = script.product()
    hold = script.ask("/inventory/reserve", _hold(item, 4, ttlSeconds=10)).body
    script.expect_stock(item, 10, 4)
    script.until(lambda: _status(script, hold) == "EXPIRED", "the hold has expired")
    script.expect_answer("commit after that", "409 reservation_not_held", "/inventory/commit", _id(hold))
    script.expect_stock(item, 10, 0)


def foreign(script: Script) -> None:
    """What is held for an order is moved by its saga alone."""
    item = script.product()
    order = script.ended(script.place(item, 2))
    reservation = script.get(f"/reservations/{order['id']}")
    script.expect("of an order", "order RESERVED", f"{reservation['kind']} {reservation['status']}")
    for verb in ("release", "commit"):
        script.expect_answer(verb, "409 foreign_reservation", f"/inventory/{verb}", _id(reservation))
    nobody = {"reservationId": str(uuid.uuid4())}
    script.expect_answer("nobody's", "404 reservation_not_found", "/inventory/release", nobody)
    script.expect("order", "CONFIRMED", words(script.order(order["id"])))
    script.expect_stock(item, 10, 2)


def adjusted(script: Script) -> None:
    item = script.product()
    script.ask("/inventory/reserve", _hold(item, 4))
    script.expect_answer("5 more", "200", "/inventory/adjust", _adjustment(item, 5))
    script.expect_answer("11 fewer", "200", "/inventory/adjust", _adjustment(item, -11))
    script.expect_stock(item, 4, 4)
    script.expect_answer("what is held", "409 conflict", "/inventory/adjust", _adjustment(item, -1))
    script.expect_stock(item, 4, 4)


def _hold(item: str, quantity: int, **more: Any) -> dict[str, Any]:
    return {"items": [{"item": item, "quantity": quantity}], **more}


def _adjustment(item: str, delta: int) -> dict[str, Any]:
    return {"item": item, "delta": delta, "reason": "counted"}


def _id(reservation: Any) -> dict[str, Any]:
    return {"reservationId": reservation["id"]}


def _status(script: Script, hold: Any) -> str:
    return str(script.get(f"/reservations/{hold['id']}")["status"])


FLOWS = (
    Flow(name="manual hold: released", play=released),
    Flow(name="manual hold: committed", play=committed),
    Flow(name="manual hold: expired", play=expired),
    Flow(name="manual hold: an order's reservation is not touched", play=foreign),
    Flow(name="stock corrected by hand", play=adjusted),
)
