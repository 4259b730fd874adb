"""The order service as Nameko runs it: entrypoints only.

Owns: which event and which request goes to which handler. Must not know: what happens there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from nameko_sqlalchemy import Database

from order_service import (
    archiving,
    audit_requests,
    cart_requests,
    erasure_requests,
    erasures,
    foresight,
    handlers,
    listings,
    overview,
    placing,
    reconciling,
    redrive_requests,
    redrive_steps,
    requests,
    saga_requests,
    schemas,
)
from order_service.models import Base
from shared import idempotency, inbox
from shared.caller import CallerProvider
from shared.database import ENGINE_OPTIONS, purge, transaction
from shared.errors import OrderSagaError
from shared.inbox import apply_once
from shared.messaging.batch_consumer import consume
from shared.messaging.chaos_watch import ChaosProvider
from shared.messaging.rpc import rpc
from shared.operations import Operations
from shared.settings_provider import SettingsProvider
from shared.timer import EVERY_MINUTE, EVERY_SECOND, timer
from shared.trace_provider import TraceProvider


class OrderService(Operations):
    """Requests, events and timers of the order service; what operators ask of all services is in Operations."""

    name = "order_service"
    database = Database(Base, engine_options=ENGINE_OPTIONS)
    settings = SettingsProvider()
    caller = CallerProvider()
    chaos = ChaosProvider()
    traces = TraceProvider()
    rehearse = staticmethod(foresight.rehearse)

    # Requests for orders

    @rpc
    def place_order(self, order: Any, idempotency_key: Any = None, correlation_id: Any = None) -> dict[str, Any]:
        request = requests.read_request(self.caller, order, idempotency_key, correlation_id)
        with transaction(self.database) as tx:
            outcome = placing.place_orders(tx, [request], self.settings)[0]
        requests.report_placed([request], [outcome])
        if isinstance(outcome, OrderSagaError):
            raise outcome
        return requests.outcome_answer(outcome)

    @rpc
    def place_orders(self, orders: Any) -> list[dict[str, Any]]:
        read = requests.read_requests(self.caller, orders)
        valid = [request for request in read if isinstance(request, placing.Request)]
        with transaction(self.database) as tx:
            outcomes = placing.place_orders(tx, valid, self.settings)
            # crash point: placing.uncommitted
        # crash point: placing.committed
        requests.report_placed(valid, outcomes)
        left = iter(outcomes)
        return [requests.outcome_answer(next(left) if isinstance(r, placing.Request) else r) for r in read]

    @rpc
    def cancel_order(
        self, order_id: Any, by: Any = None, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.cancel_order(tx, self.caller, order_id, by, idempotency_key, correlation_id, self.settings)

    @rpc
    def approve_order(
        self, order_id: Any, by: Any = None, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.approve_order(tx, self.caller, order_id, by, idempotency_key, correlation_id, self.settings)

    @rpc
    def decline_order(
        self, order_id: Any, by: Any = None, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.decline_order(tx, self.caller, order_id, by, idempotency_key, correlation_id, self.settings)

    @rpc
    def fulfil_order(
        self, order_id: Any, tracking: Any = None, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.fulfil_order(
                tx, self.caller, order_id, tracking, idempotency_key, correlation_id, self.settings
            )

    @rpc
    def return_order(
        self, order_id: Any, goods: Any, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.return_order(
                tx, self.caller, order_id, goods, idempotency_key, correlation_id, self.settings
            )

    # Requests to look at orders

    @rpc
    def get_order(self, order_id: Any) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.get_order(tx, self.caller, order_id)

    @rpc
    def list_orders(
        self,
        limit: Any = 50,
        cursor: Any = None,
        status: Any = None,
        user_id: Any = None,
        seller_id: Any = None,
        item: Any = None,
        since: Any = None,
        until: Any = None,
        text: Any = None,
    ) -> dict[str, Any]:
        filters = {"status": status, "userId": user_id, "sellerId": seller_id, "item": item, "text": text}
        period = {"since": since, "until": until}
        with transaction(self.database) as tx:
            return listings.list_orders(tx, self.caller, limit=limit, cursor=cursor, **filters, **period)

    @rpc
    def follow_orders(self, wanted: Any) -> list[dict[str, Any]]:
        with transaction(self.database) as tx:
            return listings.follow_orders(tx, self.caller, wanted)

    # Sagas, for operators

    @rpc
    def list_sagas(
        self,
        limit: Any = 50,
        cursor: Any = None,
        state: Any = None,
        text: Any = None,
        step: Any = None,
        waits_for: Any = None,
        status: Any = None,
        user_id: Any = None,
        seller_id: Any = None,
        since: Any = None,
        until: Any = None,
    ) -> dict[str, Any]:
        turn = {"state": state, "step": step, "waitsFor": waits_for}
        filters = {"status": status, "userId": user_id, "sellerId": seller_id, "text": text}
        period = {"since": since, "until": until}
        with transaction(self.database) as tx:
            return saga_requests.list_sagas(tx, self.caller, limit=limit, cursor=cursor, **turn, **filters, **period)

    @rpc
    def get_saga(self, order_id: Any) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return saga_requests.get_saga(tx, self.caller, order_id, self.settings)

    @rpc
    def nudge_saga(
        self, order_id: Any, note: Any, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        ids = (idempotency_key, correlation_id)
        with transaction(self.database) as tx:
            return saga_requests.steer_saga(tx, self.caller, "nudge_saga", order_id, note, *ids, self.settings)

    @rpc
    def resolve_saga(
        self, order_id: Any, note: Any, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        ids = (idempotency_key, correlation_id)
        with transaction(self.database) as tx:
            return saga_requests.steer_saga(tx, self.caller, "resolve_saga", order_id, note, *ids, self.settings)

    @rpc
    def cancel_saga(
        self, order_id: Any, note: Any, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        ids = (idempotency_key, correlation_id)
        with transaction(self.database) as tx:
            return saga_requests.steer_saga(tx, self.caller, "cancel_saga", order_id, note, *ids, self.settings)

    @rpc
    def overview(self) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return overview.overview(tx, self.caller)

    # Forgetting addresses

    @rpc
    def request_erasure(
        self, user_id: Any, note: Any, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        ids = (idempotency_key, correlation_id)
        with transaction(self.database) as tx:
            return erasure_requests.request_erasure(tx, self.caller, user_id, note, *ids)

    @rpc
    def get_erasure(self, erasure_id: Any) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return erasure_requests.get_erasure(tx, self.caller, erasure_id)

    # Requests for carts

    @rpc
    def create_cart(self, cart: Any = None, idempotency_key: Any = None, correlation_id: Any = None) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return cart_requests.create_cart(tx, self.caller, cart, idempotency_key, correlation_id)

    @rpc
    def get_cart(self, cart_id: Any) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return cart_requests.get_cart(tx, self.caller, cart_id)

    @rpc
    def put_cart_item(self, cart_id: Any, item: Any, quantity: Any) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return cart_requests.put_cart_item(tx, self.caller, cart_id, item, quantity)

    @rpc
    def remove_cart_item(self, cart_id: Any, item: Any) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return cart_requests.remove_cart_item(tx, self.caller, cart_id, item)

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
    def unheard_orders(self, changes: Any) -> list[str]:
        with transaction(self.database) as tx:
            return reconciling.unheard(tx, self.caller, changes)

    @rpc
    def say_order_again(
        self,
        order_id: Any,
        event_type: Any,
        return_id: Any = None,
        why: Any = None,
        idempotency_key: Any = None,
        correlation_id: Any = None,
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return reconciling.say_again(
                tx, self.caller, order_id, event_type, return_id, why, idempotency_key, correlation_id
            )

    # The audit log

    @rpc
    def record_audit(
        self,
        action: Any,
        object_type: Any,
        object_id: Any,
        request_id: Any = None,
        before: Any = None,
        after: Any = None,
        idempotency_key: Any = None,
    ) -> dict[str, bool]:
        entry = audit_requests.read_audit_entry(action, object_type, object_id, request_id, before, after)
        with transaction(self.database) as tx:
            return audit_requests.record_audit(tx, self.caller, entry, idempotency_key)

    # Dead letters

    @rpc
    def create_redrive(self, wanted: Any, idempotency_key: Any = None, request_id: Any = None) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return redrive_requests.create_redrive(tx, self.caller, wanted, idempotency_key, request_id)

    @rpc
    def get_redrive(self, run_id: Any) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return redrive_requests.get_redrive(tx, self.caller, run_id)

    @rpc
    def list_redrives(self, limit: Any = 50, cursor: Any = None, state: Any = None) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return redrive_requests.list_redrives(tx, self.caller, limit, cursor, state)

    @rpc
    def list_redrive_letters(
        self, run_id: Any, limit: Any = 50, cursor: Any = None, state: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return redrive_requests.list_redrive_letters(tx, self.caller, run_id, limit, cursor, state)

    @rpc
    def claim_redrive(self, run_id: Any) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return redrive_steps.claim_redrive(tx, self.caller, run_id)

    @rpc
    def plan_redrive(self, run_id: Any, lease: Any, sights: Any, request_id: Any = None) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return redrive_steps.plan_redrive(tx, self.caller, run_id, lease, sights, request_id)

    @rpc
    def record_redrive(self, run_id: Any, lease: Any, outcomes: Any, request_id: Any = None) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return redrive_steps.record_redrive(tx, self.caller, run_id, lease, outcomes, request_id)

    @rpc
    def stop_redrive(
        self, run_id: Any, note: Any = None, idempotency_key: Any = None, request_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return redrive_requests.stop_redrive(tx, self.caller, run_id, note, idempotency_key, request_id)

    @rpc
    def resume_redrive(self, run_id: Any, idempotency_key: Any = None, request_id: Any = None) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return redrive_requests.resume_redrive(tx, self.caller, run_id, idempotency_key, request_id)

    # Events

    @consume("INVENTORY_RESERVED", schemas.InventoryReserved)
    def on_inventory_reserved(self, events: Any) -> None:
        self._apply(events)

    @consume("INVENTORY_REJECTED", schemas.InventoryRejected)
    def on_inventory_rejected(self, events: Any) -> None:
        self._apply(events)

    @consume("INVENTORY_REFUNDED", schemas.InventoryRefunded)
    def on_inventory_refunded(self, events: Any) -> None:
        self._apply(events)

    @consume("INVENTORY_COMMITTED", schemas.InventoryCommitted)
    def on_inventory_committed(self, events: Any) -> None:
        self._apply(events)

    @consume("PAYMENT_PENDING", schemas.PaymentPending)
    def on_payment_pending(self, events: Any) -> None:
        self._apply(events)

    @consume("PAYMENT_SUCCESS", schemas.PaymentSuccess)
    def on_payment_success(self, events: Any) -> None:
        self._apply(events)

    @consume("PAYMENT_FAILED", schemas.PaymentFailed)
    def on_payment_failed(self, events: Any) -> None:
        self._apply(events)

    @consume("PAYMENT_CANCELLED", schemas.PaymentCancelled)
    def on_payment_cancelled(self, events: Any) -> None:
        self._apply(events)

    @consume("PAYMENT_REFUNDED", schemas.PaymentRefunded)
    def on_payment_refunded(self, events: Any) -> None:
        self._apply(events)

    @consume("PAYMENT_REFUND_FAILED", schemas.PaymentRefundFailed)
    def on_payment_refund_failed(self, events: Any) -> None:
        self._apply(events)

    @consume("PRODUCT_UPDATED", schemas.ProductUpdated)
    def on_product_updated(self, events: Any) -> None:
        apply_once(self.database, events, handlers.update_price_list, horizon=self.settings.inbox_horizon)

    def _apply(self, events: Any) -> None:
        handle = partial(handlers.apply_events, settings=self.settings)
        apply_once(self.database, events, handle, horizon=self.settings.inbox_horizon)

    # Timers: they fire on every replica, and each takes what the others have not locked

    @timer(EVERY_SECOND)
    def watch_deadlines(self) -> None:
        handlers.watch_all_deadlines(self.database, self.settings)

    @timer(EVERY_SECOND)
    def erase_what_was_asked(self) -> None:
        erasures.erase_what_was_asked(self.database)

    @timer(EVERY_MINUTE)
    def archive_finished(self) -> None:
        archiving.archive_finished(self.database, self.settings)

    @timer(EVERY_MINUTE)
    def forget_what_is_old(self) -> None:
        purge(self.database, idempotency.PURGE)
        inbox.forget(self.database, horizon=self.settings.inbox_horizon)
