"""What may stand for a payment method: a token by its shape, and nothing that could be a card number."""

from __future__ import annotations

import pytest
from marshmallow import ValidationError

from shared.payment_tokens import REFUSED_TOKEN, PaymentMethod, is_payment_token, payment_token

NUMBERS = (
    "4242424242424242",
    "4242 4242 4242 4242",
    "4242-4242-4242-4242",
    "4242/4242/4242/4242",
    "4242 4242 4242 4242 12/30 123",
    "4242\u20134242\u20134242\u20134242",
    "4242_4242_4242_4242",
    "card 4242424242424242",
    "card_4242424242424242",
    "tok_4242_4242_4242_4242",
    "\u0664\u0662" * 8,
)
TOKENS = ("tok_success", "pm_1NG8Du2eZvKYlo2C", "tok_4f9e0c1b2a3d4e5f60718293a4b5c6d7", "t", "tok_123456789012")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_card_number_is_refused_without_being_repeated(number: str) -> None:
    assert not is_payment_token(number)
    with pytest.raises(ValidationError) as refused:
        payment_token(number)
    assert number not in str(refused.value)
    assert PaymentMethod().deserialize(number) == REFUSED_TOKEN


@pytest.mark.parametrize("text", ["", " ", "tok success", "1tok", "tok\n", "t" * 65, None, 42])
def test_what_has_another_shape_is_no_token(text: object) -> None:
    assert not is_payment_token(text)


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_is_kept_as_it_is(token: str) -> None:
    payment_token(token)
    assert PaymentMethod().deserialize(token) == token
