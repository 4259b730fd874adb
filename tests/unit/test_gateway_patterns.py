"""Patterns in the OpenAPI document and the code that decides: they accept the same values."""

from __future__ import annotations

import re
from typing import Any

import marshmallow as ma
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.fields import TEXT_PATTERN, TOKEN_PATTERN, Text, Token, whole_number
from shared.payment_tokens import is_payment_token

CARD = "4242424242424242"
# What patterns are about: blanks, controls, and digits in groups.
ODD = st.text(
    st.sampled_from(" \t\n\x0b\x1c\x1f\x7f\x85\x9f\xa0\u1680\u180e\u2003\u200b\u2028\u202f\u205f\u3000\ufeffa")
)
TOKENS = st.from_regex(r"[a-z0-9_]{0,3}[0-9_]{0,30}[a-z0-9_]{0,3}", fullmatch=True)


def accepts(field: ma.fields.Field[Any], value: object) -> bool:
    try:
        field.deserialize(value)
    except ma.ValidationError:
        return False
    return True


def matches(pattern: str, value: str) -> bool:
    """As clients do it: in ECMAScript, unlike in Python, $ is the end and not also before a last line feed."""
    return re.search(pattern.removesuffix("$") + r"\Z", value) is not None


@given(st.text() | ODD)
@example("")
@example("\x85")
@example("a\n")
def test_text(value: str) -> None:
    assert accepts(Text(max_length=1_000_000), value) == matches(TEXT_PATTERN, value)


@given(st.text() | TOKENS)
@example("tok_success")
@example(f"tok_{CARD}")
@example(f"tok_{CARD}1")
@example(f"tok_{CARD}_x")
@example(f"tok{CARD}")
@example("tok_4242_4242_4242_4242")
@example("tok_success\n")
@example("a" * 65)
def test_token(value: str) -> None:
    assert accepts(Token(max_length=64), value) == is_payment_token(value) == matches(TOKEN_PATTERN, value)


@pytest.mark.parametrize(("value", "is_accepted"), [(2, True), (2.0, True), (1e2, True), (2.5, False), (1e400, False)])
def test_a_whole_number_may_be_written_with_a_point(value: float, is_accepted: bool) -> None:
    assert accepts(whole_number(1, 1000), value) == is_accepted


@pytest.mark.parametrize("value", ["2", True, None, [2], float("nan"), -float("inf"), 10**400])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    assert not accepts(whole_number(1, 1000), value)


def test_a_whole_number_reaches_the_services_as_one() -> None:
    assert type(whole_number(1, 1000).deserialize(2.0)) is int
