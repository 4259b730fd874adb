"""The simulated provider's test cards: which token does what, which card number gets which behaviour, what is refused.

Owns: the scripts behind tokens, the checks of a card before it becomes a token.
Must not know: databases, HTTP. No error in here quotes what was typed: it may be a card number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

BRAND = "visa"
_PREFIX = "tok_"
_SEPARATORS = re.compile(r"[ -]")
_LONGEST_FIELD = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """What happens to a charge of a token. ``reason`` is that of its decline, None for an approval."""

    reason: str | None = None
    hangs: bool = False
    loses_answer: bool = False
    is_slow: bool = False
    is_async: bool = False
    is_late: bool = False


UNKNOWN = Script(reason="card_declined")
"""A token that nobody issued."""

SCRIPTS: Mapping[str, Script] = {
    "success": Script(),
    "insufficient_funds": Script(reason="insufficient_funds"),
    "card_declined": Script(reason="card_declined"),
    "expired_card": Script(reason="expired_card"),
    "limit_exceeded": Script(reason="limit_exceeded"),
    "fraud": Script(reason="fraud_suspected"),
    "timeout": Script(hangs=True),
    "timeout_after_charge": Script(loses_answer=True),
    "slow": Script(is_slow=True),
    "async_success": Script(is_async=True),
    "async_failure": Script(is_async=True, reason="card_declined"),
    "async_late": Script(is_async=True, is_late=True),
}
TOKENS: Mapping[str, Script] = {_PREFIX + behaviour: script for behaviour, script in SCRIPTS.items()}
"""Tokens that everyone may use without a card."""

CARDS: Mapping[str, str] = {
    "4242424242424242": "success",
    "4000000000009995": "insufficient_funds",
    "4000000000000002": "card_declined",
    "4000000000000069": "expired_card",
    "4000000000009979": "limit_exceeded",
    "4100000000000019": "fraud",
    "4000000000000119": "timeout",
    "4000000000000127": "timeout_after_charge",
    "4000000000000101": "slow",
    "4000000000003220": "async_success",
    "4000000000003238": "async_failure",
    "4000000000003246": "async_late",
}
"""Number of a test card → its behaviour. Other numbers are refused: they may be somebody's real card."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What the book may keep of a card."""

    behaviour: str
    brand: str
    last4: str


class CardRefused(Exception):
    """``errors``: field → messages, none of which quotes what was typed."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        super().__init__("the card is refused")
        self.errors = dict(errors)


def read_card(fields: Mapping[str, Any], *, today: date) -> Card:
    """The card of ``number``, ``expMonth``, ``expYear`` and ``cvc``. Raises CardRefused with every fault at once."""
    number = _SEPARATORS.sub("", _text(fields.get("number")))
    errors = {
        "number": _faults_of_number(number),
        "expMonth": _faults_of_expiry(_whole(fields.get("expMonth")), _whole(fields.get("expYear")), today),
        "cvc": [] if re.fullmatch(r"[0-9]{3}", _text(fields.get("cvc"))) else ["should be three digits"],
    }
    found = {field: messages for field, messages in errors.items() if messages}
    if found:
        raise CardRefused(found)
    return Card(behaviour=CARDS[number], brand=BRAND, last4=number[-4:])


def _faults_of_number(number: str) -> list[str]:
    if not re.fullmatch(r"[0-9]{12,19}", number):
        return ["should be 12 to 19 digits"]
    if not passes_luhn(number):
        return ["has a typing error: its check digit does not fit"]
    return [] if number in CARDS else ["is not a test card"]


def _faults_of_expiry(month: int | None, year: int | None, today: date) -> list[str]:
    if month is None or not 1 <= month <= 12 or year is None or not (0 <= year <= 99 or 2000 <= year <= 2099):
        return ["month and year of the expiry should be like 12 and 2030"]
    full_year = year if year >= 2000 else 2000 + year
    return ["the card has expired"] if (full_year, month) < (today.year, today.month) else []


def passes_luhn(number: str) -> bool:
    """Whether the last digit of ``number`` is the check digit of the others."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _text(value: Any) -> str:
    """A field that may have been sent as a number; what is none of both is as if nothing was typed."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).strip() if isinstance(value, str) and len(value) <= _LONGEST_FIELD else _digits(value)


def _digits(value: str | int) -> str:
    return str(value) if isinstance(value, int) and 0 <= value < 10**_LONGEST_FIELD else ""


def _whole(value: Any) -> int | None:
    text = _text(value)
    return int(text) if re.fullmatch(r"[0-9]{1,4}", text) else None
