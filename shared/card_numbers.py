"""Telling a card number from a payment provider's token: no card number is ever stored or logged here.

Owns: what looks like one, and the validator that refuses it. Must not know: providers, their tokens, checksums.
"""

from __future__ import annotations

import re

from marshmallow import ValidationError

# 12 to 19 digits of any script, however they are grouped.
_CARD_NUMBER = re.compile(r"(?:[\s.-]*\d){12,19}[\s.-]*")


def is_card_number(value: object) -> bool:
    """Whether it looks like one, however it is written; a provider's token never does."""
    return isinstance(value, str) and _CARD_NUMBER.fullmatch(value) is not None


def no_card_number(value: str) -> None:
    """A marshmallow validator. Its message does not repeat the value: messages are logged."""
    if is_card_number(value):
        raise ValidationError("Must be a token of the payment provider; card numbers belong to nobody but it.")
