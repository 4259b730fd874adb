"""The order service of the naive saga. Run by ``nameko run``."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import uuid_utils.compat
from nameko.events import EventDispatcher, event_handler
from nameko.rpc import rpc
from nameko_sqlalchemy import DatabaseSession

from order_service.models import Base, Order, OrderEvent, OrderItem, OrderStatusHistory, Product


class NaiveOrders:
    name = "naive_order"
    session = DatabaseSession(Base)
    dispatch = EventDispatcher()

    @rpc
    def create_product(self, item: str, price: str) -> None:
        product = {"version": 1, "name": item, "currency": "EUR", "active": True, "requires_approval": False}
        self.session.merge(Product(item=item, seller_id="bench", price=Decimal(price), **product))
        self.session.commit()

    @rpc
    def place_order(self, order: dict[str, Any]) -> str:
        now = datetime.now(UTC)
        id_ = uuid_utils.compat.uuid7()
        lines = [(self.session.get(Product, line["item"]), line["quantity"]) for line in order["items"]]
        price = sum((product.price * quantity for product, quantity in lines), Decimal(0))
        row = Order(
            id=id_,
            user_id=order["userId"],
            seller_id="bench",
            status="PENDING",
            price=price,
            currency="EUR",
            payment_method=order["paymentMethod"],
            payment_mode="auto",
            correlation_id=str(id_),
            stock="UNKNOWN",
            stock_generation=0,
            money="UNKNOWN",
            created_at=now,
            updated_at=now,
        )
        self.session.add(row)
        for product, quantity in lines:
            item = {"item": product.item, "seller_id": "bench", "quantity": quantity, "price": product.price}
            self.session.add(OrderItem(order_id=id_, **item))
        payload = {
            "id": str(id_),
            "userId": order["userId"],
            "items": [{"item": product.item, "quantity": quantity} for product, quantity in lines],
            "price": str(price),
            "currency": "EUR",
            "paymentMethod": order["paymentMethod"],
        }
        self._note(row.id, None, "PENDING", "ORDER_CREATED", payload)
        self.session.commit()
        self.dispatch("ORDER_CREATED", payload)
        return str(id_)

    @event_handler("naive_inventory", "INVENTORY_RESERVED")
    def reserved(self, payload: dict[str, Any]) -> None:
        order = self._order(payload)
        order.stock, order.stock_generation = "HELD", 1
        self._move(order, "RESERVED" if order.status == "PENDING" else order.status, "INVENTORY_RESERVED", payload)
        self.session.commit()

    @event_handler("naive_inventory", "INVENTORY_REJECTED")
    def rejected(self, payload: dict[str, Any]) -> None:
        self._cancel(payload, "out_of_stock", "INVENTORY_REJECTED")

    @event_handler("naive_payment", "PAYMENT_SUCCESS")
    def paid(self, payload: dict[str, Any]) -> None:
        order = self._order(payload)
        order.money = "TAKEN"
        self._move(order, "CONFIRMED", "PAYMENT_SUCCESS", payload)
        confirmed = {"id": payload["id"], "price": str(order.price)}
        self._move(order, "CONFIRMED", "ORDER_CONFIRMED", confirmed)
        self.session.commit()
        self.dispatch("ORDER_CONFIRMED", confirmed)

    @event_handler("naive_payment", "PAYMENT_FAILED")
    def not_paid(self, payload: dict[str, Any]) -> None:
        self._cancel(payload, "payment_failed", "PAYMENT_FAILED")

    @event_handler("naive_inventory", "INVENTORY_REFUNDED")
    def released(self, payload: dict[str, Any]) -> None:
        order = self._order(payload)
        order.stock, order.settled_at = "FREE", datetime.now(UTC)
        self._move(order, order.status, "INVENTORY_REFUNDED", payload)
        self.session.commit()

    def _cancel(self, payload: dict[str, Any], reason: str, event_type: str) -> None:
        order = self._order(payload)
        order.reason, order.money = reason, "NOT_TAKEN"
        self._move(order, "CANCELLED", event_type, payload)
        cancelled = {"id": payload["id"], "reason": reason}
        self._move(order, "CANCELLED", "ORDER_CANCELLED", cancelled)
        self.session.commit()
        self.dispatch("ORDER_CANCELLED", cancelled)

    def _order(self, payload: dict[str, Any]) -> Order:
        order: Order = self.session.get(Order, uuid.UUID(payload["id"]), with_for_update=True)
        return order

    def _move(self, order: Order, status: str, event_type: str, payload: dict[str, Any]) -> None:
        before, order.status, order.updated_at = order.status, status, datetime.now(UTC)
        self._note(order.id, before, status, event_type, payload)

    def _note(self, id_: Any, before: str | None, status: str, event_type: str, payload: dict[str, Any]) -> None:
        """History and timeline."""
        now, event_id = datetime.now(UTC), uuid_utils.compat.uuid7()
        if before != status:
            self.session.add(
                OrderStatusHistory(order_id=id_, from_status=before, status=status, event_id=event_id, at=now)
            )
        self.session.add(
            OrderEvent(
                order_id=id_,
                event_id=event_id,
                event_type=event_type,
                source="naive",
                correlation_id=str(id_),
                occurred_at=now,
                recorded_at=now,
                decision="applied",
                note="",
                payload=payload,
            )
        )
