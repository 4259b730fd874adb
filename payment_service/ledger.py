"""Double entry: what a movement of money means for the accounts. Pure.

Owns: the accounts, and that the entries of one movement add up to nothing. Must not know: why money moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

PROVIDER = "psp_receivable"
CUSTOMERS = "customer_payments"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the ledger; the lines of one decision add up to nothing."""

    account: str
    amount: Decimal


def captured(amount: Decimal) -> tuple[Entry, ...]:
    """The provider took ``amount`` from a customer and owes it to us."""
    return (Entry(account=PROVIDER, amount=amount), Entry(account=CUSTOMERS, amount=-amount))


def given_back(amount: Decimal) -> tuple[Entry, ...]:
    return (Entry(account=CUSTOMERS, amount=amount), Entry(account=PROVIDER, amount=-amount))
