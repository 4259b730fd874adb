"""The payment service of the naive saga. Run by ``nameko run``; PSP_DATABASE_URL has the provider's book."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import uuid_utils.compat
from nameko.events import EventDispatcher, event_handler
from nameko.extensions import DependencyProvider
from nameko.rpc import rpc
from nameko_sqlalchemy import DatabaseSession

from payment_service.models import Base, LedgerEntry, Payment, PaymentAttempt
from payment_service.provider import Approved, Charge
from payment_service.psp_simulator import PspSimulator


class Provider(DependencyProvider):
    """The same simulated provider as everywhere."""

    def setup(self) -> None:
        self._provider = PspSimulator(os.environ["PSP_DATABASE_URL"])

    def get_dependency(self, worker_ctx: Any) -> PspSimulator:
        return self._provider


class NaivePayments:
    name = "naive_payment"
    session = DatabaseSession(Base)
    dispatch = EventDispatcher()
    provider = Provider()

    @rpc
    def ping(self) -> str:
        return "here"

    @event_handler("naive_inventory", "INVENTORY_RESERVED")
    def pay(self, payload: dict[str, Any]) -> None:
        payment, attempt = self._begin(payload)
        self.session.commit()
        charge = Charge(
            key=str(attempt.id), amount=attempt.amount, currency=attempt.currency, token=payload["paymentMethod"]
        )
        outcome = self.provider.charge(charge)
        payment.charging, attempt.ended_at = False, datetime.now(UTC)
        if isinstance(outcome, Approved):
            self._succeed(payment, attempt, outcome.reference)
        else:
            self._fail(payment, attempt, getattr(outcome, "reason", "card_declined"))

    def _begin(self, payload: dict[str, Any]) -> tuple[Payment, PaymentAttempt]:
        id_, now, amount = uuid.UUID(payload["id"]), datetime.now(UTC), Decimal(payload["price"])
        payment = Payment(
            order_id=id_,
            id=uuid.uuid5(uuid.NAMESPACE_OID, payload["id"]),
            status="PENDING",
            amount=amount,
            currency=payload["currency"],
            payment_method=payload["paymentMethod"],
            user_id=payload["userId"],
            charging=True,
            cancelled=False,
            refunded=Decimal(0),
            created_at=now,
            updated_at=now,
        )
        attempt = PaymentAttempt(
            id=uuid_utils.compat.uuid7(),
            order_id=id_,
            kind="CHARGE",
            amount=amount,
            currency=payload["currency"],
            token=payload["paymentMethod"],
            status="CALLING",
            tries=0,
            correlation_id=payload["id"],
            started_at=now,
        )
        self.session.add(payment)
        self.session.add(attempt)
        return payment, attempt

    def _succeed(self, payment: Payment, attempt: PaymentAttempt, reference: str) -> None:
        payment.status, payment.psp_reference, attempt.status = "SUCCEEDED", reference, "SUCCEEDED"
        for account, amount in (("psp_receivable", payment.amount), ("customer_payments", -payment.amount)):
            self.session.add(
                LedgerEntry(
                    transaction_id=attempt.id,
                    order_id=payment.order_id,
                    account=account,
                    amount=amount,
                    currency=payment.currency,
                    at=datetime.now(UTC),
                )
            )
        told = {"id": str(payment.order_id), "paymentId": str(payment.id), "price": str(payment.amount)}
        self.session.commit()
        self.dispatch("PAYMENT_SUCCESS", {**told, "pspReference": reference})

    def _fail(self, payment: Payment, attempt: PaymentAttempt, reason: str) -> None:
        payment.status, attempt.status, attempt.reason = "FAILED", "FAILED", reason
        told = {"id": str(payment.order_id), "paymentId": str(payment.id), "reason": reason}
        self.session.commit()
        self.dispatch("PAYMENT_FAILED", told)
