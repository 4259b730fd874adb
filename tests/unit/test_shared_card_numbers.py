"""A card number is recognised however it is written, and never repeated."""

from __future__ import annotations

import pytest
from marshmallow import ValidationError

from shared.card_numbers import is_card_number, no_card_number

NUMBERS = (
    "4242424242424242",
    "4242 4242 4242 4242",
    "4242-4242-4242-4242",
    "424242424242",
    "4242424242424242424",
    " 42" * 7,
)


@pytest.mark.parametrize("number", [*NUMBERS, "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢"])
def test_a_card_number_is_refused_without_being_repeated(number: str) -> None:
    assert is_card_number(number)
    with pytest.raises(ValidationError) as refused:
        no_card_number(number)
    assert number not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "tok_success", "tok_4242424242424242", "12345678901", "4" * 20, "42424242424x", None, 42]
)
def test_a_token_and_anything_else_is_none(text: object) -> None:
    assert not is_card_number(text)
