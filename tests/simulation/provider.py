"""A payment provider in memory, with the promises of the PaymentProvider protocol and none of its good manners.

Owns: its book (charges, refunds), what each token does, webhooks, lost requests and lost answers.
Must not know: orders, payments. The book is judged by invariants.py.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from payment_service.provider import Approved, Charge, ChargeOutcome, Declined, Processing
from shared.errors import ProviderUnavailable

from .clock import Clock

DECLINES = {
    "tok_insufficient_funds": "insufficient_funds",
    "tok_card_declined": "card_declined",
    "tok_expired_card": "expired_card",
    "tok_limit_exceeded": "limit_exceeded",
    "tok_fraud": "fraud_suspected",
    "tok_async_failure": "card_declined",
}
APPROVALS = ("tok_success", "tok_slow", "tok_timeout_after_charge", "tok_async_success", "tok_async_late")
DECIDED_AFTER_S = {"tok_async_success": 2.0, "tok_async_failure": 2.0, "tok_async_late": 70.0}
SLOW_S = 3.0
REQUEST_LOST, ANSWER_LOST = "request to the provider lost", "answer of the provider lost"


@dataclass(kw_only=True)
class Booked:
    """A charge. ``decided_at`` is None once it has been decided."""

    status: str
    amount: Decimal
    reason: str | None = None
    decided_at: datetime | None = None
    charged_before: bool = False


@dataclass(kw_only=True)
class Webhook:
    """Something to tell, as it was when it happened; told again until it is heard."""

    key: str
    body: str
    heard: int = 0


@dataclass(kw_only=True)
class Provider:
    """``weather`` is asked at each call and says what is lost; ``pause`` lets others act while a call is under way.

    ``refuses_refunds``: the share of refunds that it will not make.
    """

    clock: Clock
    weather: Callable[[], str]
    pause: Callable[[], None]
    refuses_refunds: float = 0.0
    charges: dict[str, Booked] = field(default_factory=dict)
    refunds: dict[str, tuple[str, Decimal]] = field(default_factory=dict)
    webhooks: list[Webhook] = field(default_factory=list)

    def charge(self, charge: Charge) -> ChargeOutcome:
        def act() -> ChargeOutcome:
            if charge.token == "tok_timeout":
                raise ProviderUnavailable("hangs")
            booked = self.charges.get(charge.key) or self._book(charge)
            is_first, booked.charged_before = not booked.charged_before, True
            if charge.token == "tok_timeout_after_charge" and is_first:
                raise ProviderUnavailable("charged, and hangs")
            return self._outcome(charge.key)

        if charge.token == "tok_slow":
            self.clock.advance(SLOW_S)
        outcome: ChargeOutcome = self._do(act)
        return outcome

    def lookup(self, key: str) -> ChargeOutcome | None:
        known: ChargeOutcome | None = self._do(lambda: self._outcome(key) if key in self.charges else None)
        return known

    def void(self, key: str) -> None:
        def act() -> None:
            booked = self.charges.setdefault(key, Booked(status="VOIDED", amount=Decimal(0), reason="voided"))
            if booked.status in ("APPROVED", "PROCESSING"):
                booked.status, booked.reason, booked.decided_at = "VOIDED", "voided", None

        self._do(act)

    def refund(self, *, charge_key: str, refund_key: str, amount: Decimal) -> ChargeOutcome:
        outcome: ChargeOutcome = self._do(lambda: self._refund(charge_key, refund_key, amount))
        return outcome

    def _refund(self, charge_key: str, refund_key: str, amount: Decimal) -> ChargeOutcome:
        charge = self.charges.get(charge_key)
        # As likely as that, and always the same of one refund.
        is_refused = random.Random(refund_key).random() < self.refuses_refunds  # noqa: S311
        if is_refused or charge is None or charge.status != "APPROVED":
            return Declined(reason="nothing_to_refund")
        others = (a for key, (of, a) in self.refunds.items() if of == charge_key and key != refund_key)
        if sum(others, Decimal(0)) + amount > charge.amount:
            return Declined(reason="exceeds_charge")
        self.refunds.setdefault(refund_key, (charge_key, amount))
        return Approved(reference=f"re_{refund_key}")

    def _book(self, charge: Charge) -> Booked:
        reason = DECLINES.get(charge.token, None if charge.token in APPROVALS else "card_declined")
        booked = Booked(status="DECLINED" if reason else "APPROVED", amount=charge.amount, reason=reason)
        self.charges[charge.key] = booked
        if charge.token in DECIDED_AFTER_S:
            booked.status = "PROCESSING"
            booked.decided_at = self.clock.now + timedelta(seconds=DECIDED_AFTER_S[charge.token])
            self._tell(charge.key, "processing")
        return booked

    def _outcome(self, key: str) -> ChargeOutcome:
        booked = self.charges[key]
        match booked.status:
            case "APPROVED":
                return Approved(reference=f"ch_{key}")
            case "PROCESSING":
                return Processing(reference=f"ch_{key}")
        return Declined(reason=booked.reason or "card_declined")

    def _do(self, act: Callable[[], Any]) -> Any:
        self.pause()
        self.decide()
        lost = self.weather()
        outcome = None if lost == REQUEST_LOST else act()
        self.pause()
        if lost:
            raise ProviderUnavailable(lost)
        return outcome

    def decide(self) -> None:
        """What was to be decided by now is decided, and told."""
        for key, booked in self.charges.items():
            if booked.decided_at is not None and booked.decided_at <= self.clock.now:
                booked.status, booked.decided_at = "DECLINED" if booked.reason else "APPROVED", None
                self._tell(key, "failed" if booked.reason else "succeeded")

    def _tell(self, key: str, status: str) -> None:
        data = {"key": key, "reference": f"ch_{key}", "status": status, "reason": self.charges[key].reason}
        body = {"id": f"wh_{len(self.webhooks)}", "type": f"charge.{status}", "data": data}
        self.webhooks.append(Webhook(key=key, body=json.dumps(body)))

    @property
    def untold(self) -> list[Webhook]:
        return [webhook for webhook in self.webhooks if not webhook.heard]

    def due(self) -> list[datetime]:
        return [booked.decided_at for booked in self.charges.values() if booked.decided_at is not None]

    # The book, for whoever audits it

    def standing(self) -> dict[str, Decimal]:
        """Charge key → what was taken and not voided."""
        return {key: booked.amount for key, booked in self.charges.items() if booked.status == "APPROVED"}

    def refunded(self, charge_key: str) -> Decimal:
        return sum((amount for of, amount in self.refunds.values() if of == charge_key), Decimal(0))
