"""The inventory service of the naive saga. Run by ``nameko run``."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from nameko.events import EventDispatcher, event_handler
from nameko.rpc import rpc
from nameko_sqlalchemy import DatabaseSession

from inventory_service.models import Base, OrderLine, Reservation, Saga, Stock, StockMovement

_KEPT_FOR = timedelta(minutes=30)


class NaiveInventory:
    name = "naive_inventory"
    session = DatabaseSession(Base)
    dispatch = EventDispatcher()

    @rpc
    def create_stock(self, item: str, on_hand: int) -> None:
        self.session.merge(Stock(item=item, on_hand=on_hand, reserved=0))
        self.session.commit()

    @event_handler("naive_order", "ORDER_CREATED")
    def reserve(self, payload: dict[str, Any]) -> None:
        # Sorted: two orders for the same two items would wait for each other.
        lines = sorted((line["item"], line["quantity"]) for line in payload["items"])
        stocks = [self.session.get(Stock, item, with_for_update=True) for item, _ in lines]
        pairs = list(zip(stocks, lines, strict=True))
        if any(stock.on_hand - stock.reserved < quantity for stock, (_, quantity) in pairs):
            self.dispatch("INVENTORY_REJECTED", {"id": payload["id"], "reason": "out_of_stock"})
            return
        self._hold(payload, lines)
        for stock, (item, quantity) in pairs:
            stock.reserved += quantity
            self._move(payload["id"], "reserved", item, quantity)
        self.session.commit()
        self.dispatch("INVENTORY_RESERVED", {**payload, "generation": 1})

    @event_handler("naive_payment", "PAYMENT_SUCCESS")
    def keep(self, payload: dict[str, Any]) -> None:
        self._reservation(payload).expires_at = None
        self.session.commit()

    @event_handler("naive_payment", "PAYMENT_FAILED")
    def release(self, payload: dict[str, Any]) -> None:
        id_ = uuid.UUID(payload["id"])
        reservation = self._reservation(payload)
        reservation.status, reservation.ended_at, reservation.expires_at = "RELEASED", datetime.now(UTC), None
        self.session.get(Saga, id_).status = "RELEASED"
        lines = self.session.query(OrderLine).filter_by(order_id=id_).order_by(OrderLine.item).all()
        for line in lines:
            self.session.get(Stock, line.item, with_for_update=True).reserved -= line.quantity
            self._move(payload["id"], "released", line.item, -line.quantity)
        self.session.commit()
        self.dispatch("INVENTORY_REFUNDED", {"id": payload["id"], "generation": 1, "reason": "payment_failed"})

    def _hold(self, payload: dict[str, Any], lines: list[tuple[str, int]]) -> None:
        id_, now = uuid.UUID(payload["id"]), datetime.now(UTC)
        self.session.add(
            Saga(
                order_id=id_,
                status="HELD",
                generation=1,
                cancelled=False,
                user_id=payload["userId"],
                price=Decimal(payload["price"]),
                currency=payload["currency"],
                payment_mode="auto",
                payment_method=payload["paymentMethod"],
                correlation_id=payload["id"],
                seller_id="bench",
            )
        )
        times = {"created_at": now, "expires_at": now + _KEPT_FOR, "wake_at": now + _KEPT_FOR}
        self.session.add(Reservation(order_id=id_, generation=1, status="RESERVED", **times))
        for item, quantity in lines:
            self.session.add(OrderLine(order_id=id_, item=item, quantity=quantity))

    def _reservation(self, payload: dict[str, Any]) -> Reservation:
        key = (uuid.UUID(payload["id"]), 1)
        reservation: Reservation = self.session.get(Reservation, key, with_for_update=True)
        return reservation

    def _move(self, order_id: str, kind: str, item: str, delta_reserved: int) -> None:
        self.session.add(
            StockMovement(
                item=item,
                kind=kind,
                delta_on_hand=0,
                delta_reserved=delta_reserved,
                order_id=uuid.UUID(order_id),
                generation=1,
                at=datetime.now(UTC),
            )
        )
