"""The seam to whoever moves the money.

Owns: what the payment service asks of a provider. An implementation may be a simulator or a real PSP's client.
Must not know: payments, orders, databases.

Every call carries a key, and the same key means the same operation however often it is asked: that is what makes it
safe to ask again when an answer was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, TypeAlias


@dataclass(frozen=True, kw_only=True, slots=True)
class Charge:
    """Take ``amount`` from the instrument behind ``token``."""

    key: str
    amount: Decimal
    currency: str
    token: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Approved:
    reference: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Declined:
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Processing:
    """Accepted, not decided yet: a webhook tells the outcome, and so does a lookup later."""

    reference: str


VOIDED = Declined(reason="voided")
"""What a lookup says of a charge that was voided."""

ChargeOutcome: TypeAlias = Approved | Declined | Processing


class PaymentProvider(Protocol):
    """Every method raises ProviderUnavailable when the outcome is unknown; calling again with the same key is safe."""

    def charge(self, charge: Charge) -> ChargeOutcome: ...

    def lookup(self, key: str) -> ChargeOutcome | None:
        """What became of the charge with this key; None if the provider never saw it."""

    def void(self, key: str) -> None:
        """See to it that no charge with this key stands: undo it if it was made (or is processed), refuse it if it
        comes later.
        """

    def refund(self, *, charge_key: str, refund_key: str, amount: Decimal) -> ChargeOutcome:
        """Give back part or all of a charge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Booked:
    """A charge as the provider's book has it. ``status``: APPROVED, DECLINED, VOIDED or PROCESSING."""

    key: str
    status: str
    amount: Decimal
    currency: str
    refunded: Decimal


class ProviderBook(Protocol):
    """The provider's own book, to compare ours with. Every method raises ProviderUnavailable."""

    def booked(self, keys: Sequence[str]) -> dict[str, Booked]:
        """Those that it knows, by key."""

    def booked_after(self, after: str, until: str | None, limit: int) -> list[Booked]:
        """Charges in the order of their keys, from the one after ``after`` to before ``until``."""
