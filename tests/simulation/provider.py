"""A payment provider in memory, with the promises of the PaymentProvider protocol and none of its good manners.

Owns: its book (charges, refunds), what each token does, lost requests and lost answers.
Must not know: orders, payments. The book is judged by invariants.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from payment_service.provider import Approved, Charge, ChargeOutcome, Declined
from shared.errors import ProviderUnavailable

DECLINES = {
    "tok_insufficient_funds": "insufficient_funds",
    "tok_card_declined": "card_declined",
    "tok_limit_exceeded": "limit_exceeded",
}
REQUEST_LOST, ANSWER_LOST = "request to the provider lost", "answer of the provider lost"


@dataclass(kw_only=True)
class Booked:
    status: str
    amount: Decimal
    reason: str | None = None


class Provider:
    """``weather`` is asked at each call and says what is lost; ``pause`` lets others act while a call is under way."""

    def __init__(self, weather: Callable[[], str], pause: Callable[[], None]) -> None:
        self._weather, self._pause = weather, pause
        self.refuses_refunds = False
        self.charges: dict[str, Booked] = {}
        self.refunds: dict[str, tuple[str, Decimal]] = {}

    def charge(self, charge: Charge) -> ChargeOutcome:
        def act() -> ChargeOutcome:
            if charge.key not in self.charges:
                self.charges[charge.key] = _decided(charge)
            return self._outcome(charge.key)

        return self._do(act)

    def lookup(self, key: str) -> ChargeOutcome | None:
        return self._do(lambda: self._outcome(key) if key in self.charges else None)

    def void(self, key: str) -> None:
        def act() -> None:
            booked = self.charges.setdefault(key, Booked(status="VOIDED", amount=Decimal(0), reason="voided"))
            if booked.status == "APPROVED":
                booked.status, booked.reason = "VOIDED", "voided"

        self._do(act)

    def refund(self, *, charge_key: str, refund_key: str, amount: Decimal) -> ChargeOutcome:
        return self._do(lambda: self._refund(charge_key, refund_key, amount))

    def _refund(self, charge_key: str, refund_key: str, amount: Decimal) -> ChargeOutcome:
        charge = self.charges.get(charge_key)
        if self.refuses_refunds or charge is None or charge.status != "APPROVED":
            return Declined(reason="nothing_to_refund")
        others = (a for key, (of, a) in self.refunds.items() if of == charge_key and key != refund_key)
        if sum(others, Decimal(0)) + amount > charge.amount:
            return Declined(reason="exceeds_charge")
        self.refunds.setdefault(refund_key, (charge_key, amount))
        return Approved(reference=f"re_{refund_key}")

    def _outcome(self, key: str) -> ChargeOutcome:
        booked = self.charges[key]
        if booked.status == "APPROVED":
            return Approved(reference=f"ch_{key}")
        return Declined(reason=booked.reason or "card_declined")

    def _do(self, act: Callable[[], Any]) -> Any:
        self._pause()
        lost = self._weather()
        outcome = None if lost == REQUEST_LOST else act()
        self._pause()
        if lost:
            raise ProviderUnavailable(lost)
        return outcome

    # The book, for whoever audits it

    def standing(self) -> dict[str, Decimal]:
        """Charge key → what was taken and not voided."""
        return {key: booked.amount for key, booked in self.charges.items() if booked.status == "APPROVED"}

    def refunded(self, charge_key: str) -> Decimal:
        return sum((amount for of, amount in self.refunds.values() if of == charge_key), Decimal(0))


def _decided(charge: Charge) -> Booked:
    reason = DECLINES.get(charge.token, None if charge.token == "tok_success" else "card_declined")
    return Booked(status="DECLINED" if reason else "APPROVED", amount=charge.amount, reason=reason)
