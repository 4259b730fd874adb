"""The inventory service as Nameko runs it: entrypoints only.

Owns: which event and which request goes to which handler. Must not know: what happens there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from nameko_sqlalchemy import Database

from inventory_service import foresight, handlers, reconciling, requests, reservation_requests, schemas
from inventory_service.models import Base
from shared import idempotency, inbox
from shared.caller import CallerProvider
from shared.database import ENGINE_OPTIONS, purge, transaction
from shared.inbox import apply_once
from shared.messaging.batch_consumer import consume
from shared.messaging.chaos_watch import ChaosProvider
from shared.messaging.rpc import rpc
from shared.operations import Operations
from shared.settings_provider import SettingsProvider
from shared.timer import EVERY_MINUTE, EVERY_SECOND, timer
from shared.trace_provider import TraceProvider


class InventoryService(Operations):
    """Requests, events and timers of the inventory service; what operators ask of all services is in Operations."""

    name = "inventory_service"
    database = Database(Base, engine_options=ENGINE_OPTIONS)
    settings = SettingsProvider()
    caller = CallerProvider()
    chaos = ChaosProvider()
    traces = TraceProvider()
    rehearse = staticmethod(foresight.rehearse)

    # Requests

    @rpc
    def create_product(self, product: Any, idempotency_key: Any = None, correlation_id: Any = None) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.create_product(tx, self.caller, product, idempotency_key, correlation_id)

    @rpc
    def update_product(
        self, item: Any, changes: Any, versions: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.update_product(tx, self.caller, item, changes, versions, correlation_id)

    @rpc
    def adjust_stock(self, adjustment: Any, idempotency_key: Any = None, correlation_id: Any = None) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.adjust_stock(tx, self.caller, adjustment, idempotency_key, correlation_id)

    @rpc
    def get_product(self, item: Any) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.get_product(tx, item)

    @rpc
    def list_products(
        self, limit: Any = 50, cursor: Any = None, text: Any = None, seller_id: Any = None, active: Any = "any"
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.list_products(tx, limit, cursor, text, seller_id, active)

    @rpc
    def list_stock(
        self, limit: Any = 50, cursor: Any = None, seller_id: Any = None, item: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.list_stock(tx, self.caller, limit, cursor, seller_id, item)

    @rpc
    def list_movements(self, item: Any, limit: Any = 50, cursor: Any = None) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.list_movements(tx, self.caller, item, limit, cursor)

    @rpc
    def reserve_stock(
        self, reservation: Any, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return reservation_requests.reserve_stock(
                tx, self.caller, reservation, idempotency_key, correlation_id, self.settings
            )

    @rpc
    def release_reservation(
        self, reservation_id: Any, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return reservation_requests.release_reservation(
                tx, self.caller, reservation_id, idempotency_key, correlation_id, self.settings
            )

    @rpc
    def commit_reservation(
        self, reservation_id: Any, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return reservation_requests.commit_reservation(
                tx, self.caller, reservation_id, idempotency_key, correlation_id, self.settings
            )

    @rpc
    def get_reservation(self, reservation_id: Any) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return reservation_requests.get_reservation(tx, self.caller, reservation_id)

    @rpc
    def list_reservations(
        self, limit: Any = 50, cursor: Any = None, status: Any = None, seller_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return reservation_requests.list_reservations(tx, self.caller, limit, cursor, status, seller_id)

    # Comparing with the other sides, and repairing

    @rpc
    def reconcile_walk(
        self, after: Any = None, limit: Any = 200, full: Any = False, quiet_s: Any = 30.0, ago_s: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return reconciling.walk(tx, self.caller, after=after, limit=limit, full=full, quiet_s=quiet_s, ago_s=ago_s)

    @rpc
    def reconcile_sides(self, order_ids: Any) -> list[dict[str, Any]]:
        with transaction(self.database) as tx:
            return reconciling.sides(tx, self.caller, order_ids)

    @rpc
    def reconcile_stock(
        self, after: Any = None, limit: Any = 200, full: Any = False, quiet_s: Any = 30.0, ago_s: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return reconciling.check_stock(tx, self.caller, after, limit, full, quiet_s, ago_s)

    @rpc
    def say_stock_again(
        self, order_id: Any, why: Any = None, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return reconciling.say_again(tx, self.caller, order_id, why, idempotency_key, correlation_id)

    # Events

    @consume("ORDER_CREATED", schemas.OrderCreated)
    def on_order_created(self, events: Any) -> None:
        self._apply(events)

    @consume("ORDER_APPROVED", schemas.OrderApproved)
    def on_order_approved(self, events: Any) -> None:
        self._apply(events)

    @consume("ORDER_FULFILLED", schemas.OrderFulfilled)
    def on_order_fulfilled(self, events: Any) -> None:
        self._apply(events)

    @consume("ORDER_RETURNED", schemas.OrderReturned)
    def on_order_returned(self, events: Any) -> None:
        self._apply(events)

    @consume("ORDER_CANCELLED", schemas.OrderCancelled)
    def on_order_cancelled(self, events: Any) -> None:
        self._apply(events)

    @consume("PAYMENT_SUCCESS", schemas.PaymentSuccess)
    def on_payment_success(self, events: Any) -> None:
        self._apply(events)

    @consume("PAYMENT_FAILED", schemas.PaymentFailed)
    def on_payment_failed(self, events: Any) -> None:
        self._apply(events)

    def _apply(self, events: Any) -> None:
        handle = partial(handlers.apply_events, settings=self.settings)
        apply_once(self.database, events, handle, horizon=self.settings.inbox_horizon)

    # Timers: they fire on every replica, and each takes what the others have not locked

    @timer(EVERY_SECOND)
    def wake_reservations(self) -> None:
        handlers.wake_all_reservations(self.database, self.settings)

    @timer(EVERY_MINUTE)
    def forget_what_is_old(self) -> None:
        purge(self.database, idempotency.PURGE)
        inbox.forget(self.database, horizon=self.settings.inbox_horizon)
