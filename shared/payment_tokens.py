"""Telling a payment provider's token from a card number: no card number is ever stored or logged here.

Owns: the shape of a token, what looks like a card number, and the field and validator that refuse it.
Must not know: providers, what their tokens do, checksums.
"""

from __future__ import annotations

import re
from typing import Any

from marshmallow import ValidationError, fields

REFUSED_TOKEN = "tok_refused"  # noqa: S105
"""Stands for what was no token; no provider issued it, so it is declined."""

# By what is allowed, not by what is not: a card number can be grouped and framed in endless ways.
_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
# Digits that stand alone inside; in a longer word of letters and digits they are chance.
_CARD_NUMBER = re.compile(r"(?<![A-Za-z0-9])[0-9](?:_?[0-9]){12,18}(?![A-Za-z0-9])")


def is_payment_token(value: object) -> bool:
    """Whether it has the shape of a token: letters, digits and underscores, and no card number among them."""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None and _CARD_NUMBER.search(value) is None


def payment_token(value: str) -> None:
    """A marshmallow validator. Its message does not repeat the value: messages are logged."""
    if not is_payment_token(value):
        raise ValidationError("Must be a token of the payment provider: letters, digits, _; never a card number.")


class PaymentMethod(fields.String):
    """A provider's token in an event. Anything else becomes REFUSED_TOKEN: it must not be stored here."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        return text if is_payment_token(text) else REFUSED_TOKEN
