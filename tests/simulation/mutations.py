"""Errors that people make in systems like this one, put into the real code: the simulation must find each of them.

Owns: the errors, each a small patch that lasts as long as its block. Must not know: how they are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any
from unittest.mock import patch

import inventory_service.domain as inventory
import inventory_service.happenings as stock
import order_service.domain as order
import payment_service.domain as payment
import payment_service.handlers
import payment_service.refunds
import shared.idempotency
import shared.inbox
from inventory_service.states import HoldingStatus
from order_service.happenings import DeadlinePassed
from order_service.states import CancelReason, OrderStatus, Stock
from payment_service.charger import Charger
from payment_service.domain import PaymentStatus
from payment_service.provider import Approved, Charge, Declined, Processing
from payment_service.terms import Payment
from shared.database import transaction
from shared.envelope import new_id
from shared.messaging.batch_consumer import BatchLane
from shared.relay import Relay

from .scenario import LATE_PAYMENT, Scenario


def _rules(domain: ModuleType, changed: Mapping[tuple[Any, type], Callable[..., Any]]) -> AbstractContextManager[Any]:
    """Other rules for some pairs of a transition table."""
    return patch.object(domain, "TRANSITIONS", {**domain.TRANSITIONS, **changed})


def no_tombstone_in_inventory() -> AbstractContextManager[Any]:
    """A cancellation that comes before its order is answered and forgotten."""

    def forget(holding: Any, event: Any, *here: Any) -> Any:
        return replace(inventory._bury(holding, event, *here), holding=holding)

    return _rules(inventory, {(HoldingStatus.OPEN, stock.OrderCancelled): forget})


def no_tombstone_in_payment() -> AbstractContextManager[Any]:
    def forget(before: Any, event: Any, *here: Any) -> Any:
        return replace(payment._bury(before, event, *here), payment=before)

    return _rules(payment, {(PaymentStatus.NONE, payment.OrderCancelled): forget})


@contextmanager
def acknowledged_before_commit() -> Iterator[None]:
    process = BatchLane._process

    def hasty(self: BatchLane, pairs: Any) -> None:
        pairs[-1][0].acknowledge(and_all_before=True)
        process(self, pairs)

    with patch.object(BatchLane, "_process", hasty):
        yield


def inbox_does_not_claim() -> AbstractContextManager[Any]:
    return patch.object(shared.inbox, "claim", lambda _tx, events: list(events))


@contextmanager
def inbox_in_its_own_transaction() -> Iterator[None]:
    def apply_twice_committed(sessions: Any, events: Any, handle: Any, *, horizon: Any) -> Any:
        with transaction(sessions) as tx:
            fresh = shared.inbox.claim(tx, events)
        with transaction(sessions) as tx:
            return handle(tx, fresh) if fresh else None

    names = ("order_service.service", "inventory_service.service", "payment_service.service")
    with (
        patch(f"{names[0]}.apply_once", apply_twice_committed),
        patch(f"{names[1]}.apply_once", apply_twice_committed),
        patch(f"{names[2]}.apply_once", apply_twice_committed),
    ):
        yield


def stock_released_twice() -> AbstractContextManager[Any]:
    """After PAYMENT_FAILED gave it back, ORDER_CANCELLED does so again."""
    return _rules(inventory, {(HoldingStatus.RELEASED, stock.OrderCancelled): inventory._release_cancelled})


def charged_with_a_new_key_each_time() -> AbstractContextManager[Any]:
    def careless(self: Charger, attempt: Any) -> Any:
        charge = Charge(
            key=str(new_id()), amount=attempt.amount, currency=attempt.currency, token=attempt.token or "tok_success"
        )
        return self._provider.charge(charge)

    return patch.object(Charger, "_charge", careless)


def silence_of_the_provider_is_a_decline() -> AbstractContextManager[Any]:
    end_charge = payment_service.handlers._end_charge

    def hasty(changes: Any, attempt: Any, answer: Any, *here: Any) -> Any:
        is_silent = isinstance(answer, payment_service.handlers.Unanswered)
        return end_charge(changes, attempt, Declined(reason="card_declined") if is_silent else answer, *here)

    return patch.object(payment_service.handlers, "_end_charge", hasty)


def unwanted_charge_not_voided() -> AbstractContextManager[Any]:
    return _rules(payment, {(PaymentStatus.CANCELLED, payment.ChargeSucceeded): payment._never_charged})


def settled_without_the_money() -> AbstractContextManager[Any]:
    def settle(of: Any, now: Any) -> Any:
        is_over = of.status is OrderStatus.CANCELLED and of.stock is Stock.FREE and of.settled_at is None
        return replace(of, settled_at=now) if is_over else of

    return patch.object(order, "settle", settle)


@contextmanager
def marked_before_published() -> Iterator[None]:
    def hasty(self: Relay) -> bool:
        rows = self._source.window()
        if rows:
            self._database.rows(
                "update outbox set published_at = now() where id = any(%s)", ([row.id for row in rows],)
            )
            self._publisher.publish(rows)
        return bool(rows)

    with patch.object(Relay, "relay_once", hasty):
        yield


def late_payment_ignored() -> AbstractContextManager[Any]:
    return _rules(inventory, {(HoldingStatus.EXPIRED, stock.PaymentTaken): inventory._nothing})


def paid_reservation_still_expires() -> AbstractContextManager[Any]:
    return _rules(inventory, {(HoldingStatus.HELD, stock.PaymentTaken): inventory._nothing})


def refunds_without_bound() -> AbstractContextManager[Any]:
    """What is under way is not counted."""
    return patch.object(Payment, "refundable", property(lambda self: self.amount - self.refunded))


def refund_repeated() -> AbstractContextManager[Any]:
    """A return that is told of again is refunded again, as far as money is left."""

    def again(before: Any, event: Any, *here: Any) -> Any:
        decision = payment_service.refunds.refund_return(replace(before, known_refunds=frozenset()), event, *here)
        return replace(decision, work=replace(decision.work, id=new_id())) if decision.work else decision

    states = (PaymentStatus.SUCCEEDED, PaymentStatus.PARTIALLY_REFUNDED)
    return _rules(payment, {(state, payment.OrderReturned): again for state in states})


def timer_does_not_look_at_the_status() -> AbstractContextManager[Any]:
    """An order whose compensation is late is cancelled once more."""

    def cancel_again(of: Any, _event: Any, _here: Any) -> Any:
        return order._cancel(of, CancelReason.TIMEOUT)

    return _rules(order, {(OrderStatus.CANCELLED, DeadlinePassed): cancel_again})


def cancelled_after_shipment() -> AbstractContextManager[Any]:
    def is_cancellable(of: Any) -> bool:
        return of.status in (OrderStatus.PENDING, OrderStatus.RESERVED, OrderStatus.CONFIRMED)

    return patch.object(order, "_is_cancellable", is_cancellable)


def committed_twice() -> AbstractContextManager[Any]:
    return _rules(inventory, {(HoldingStatus.COMMITTED, stock.OrderFulfilled): inventory._commit})


def keys_are_forgotten() -> AbstractContextManager[Any]:
    return patch.object(shared.idempotency, "remember", lambda *_answers: None)


def processing_is_taken_for_success() -> AbstractContextManager[Any]:
    end_charge = payment_service.handlers._end_charge

    def hasty(changes: Any, attempt: Any, answer: Any, *here: Any) -> Any:
        is_undecided = isinstance(answer, Processing)
        return end_charge(changes, attempt, Approved(reference="early") if is_undecided else answer, *here)

    return patch.object(payment_service.handlers, "_end_charge", hasty)


def _as_it_comes(scenario: Scenario) -> Scenario:
    return scenario


def _with(**weights: int) -> Callable[[Scenario], Scenario]:
    """Scenarios that come to the point: the error shows only where such things happen."""

    def focus(scenario: Scenario) -> Scenario:
        return replace(scenario, weights={**scenario.weights, **weights}, has_head_start=True)

    return focus


def _paid_late(scenario: Scenario) -> Scenario:
    return replace(scenario, stalled=LATE_PAYMENT, weights={**scenario.weights, "outage": 8}, reservation_ttl_s=600)


@dataclass(frozen=True, kw_only=True)
class Mutation:
    apply: Callable[[], AbstractContextManager[Any]]
    focus: Callable[[Scenario], Scenario] = _as_it_comes


MUTATIONS: Mapping[str, Mutation] = {
    "no tombstone in inventory": Mutation(apply=no_tombstone_in_inventory),
    "no tombstone in payment": Mutation(apply=no_tombstone_in_payment),
    "acknowledged before commit": Mutation(apply=acknowledged_before_commit),
    "inbox does not claim": Mutation(apply=inbox_does_not_claim),
    "inbox claimed in its own transaction": Mutation(apply=inbox_in_its_own_transaction),
    "stock released twice": Mutation(apply=stock_released_twice),
    "charged with a new key each time": Mutation(apply=charged_with_a_new_key_each_time),
    "silence of the provider is a decline": Mutation(apply=silence_of_the_provider_is_a_decline),
    "processing is taken for success": Mutation(apply=processing_is_taken_for_success),
    "unwanted charge not voided": Mutation(apply=unwanted_charge_not_voided),
    "settled without the money": Mutation(apply=settled_without_the_money),
    "outbox marked before publishing": Mutation(apply=marked_before_published),
    "late payment ignored": Mutation(apply=late_payment_ignored, focus=_paid_late),
    "paid reservation still expires": Mutation(apply=paid_reservation_still_expires),
    "refunds without bound": Mutation(apply=refunds_without_bound, focus=_with(refund=24)),
    "refund of a return repeated": Mutation(apply=refund_repeated, focus=_with(give_back=12, dispatch_again=12)),
    "timer does not look at the status": Mutation(apply=timer_does_not_look_at_the_status),
    "cancelled after shipment": Mutation(apply=cancelled_after_shipment, focus=_with(fulfil=20, cancel=20)),
    "stock committed twice": Mutation(apply=committed_twice, focus=_with(fulfil=20, dispatch_again=20)),
    "idempotency keys are forgotten": Mutation(apply=keys_are_forgotten),
}
