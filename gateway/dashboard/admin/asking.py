"""Asking where an answer may not come: the page is there all the same, and says what is missing.

Owns: what is said of an error on an operator's page. Must not know: any single page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import marshmallow as ma

from gateway.dashboard.forms import field_messages
from gateway.problems import STATUS_BY_CODE
from shared.errors import InvalidRequest, OrderSagaError
from shared.logs import get_logger

log = get_logger(__name__)

_GENERIC = "something went wrong there; it is logged"


class Answer(NamedTuple):
    """``trouble``: why there is no ``value``."""

    value: Any = None
    trouble: str | None = None


def asked(ask: Callable[[], Any]) -> Answer:
    try:
        return Answer(value=ask())
    except OrderSagaError as error:
        return Answer(trouble=words_of(error))


def words_of(error: OrderSagaError) -> str:
    if isinstance(error, InvalidRequest):
        return "; ".join(f"{name}: {said}" for name, said in field_messages(error).items())
    status, title = STATUS_BY_CODE.get(error.code, STATUS_BY_CODE["internal_error"])
    if status >= 500:
        log.warning("page_met_trouble", code=error.code, error=error.message[:300])
    return f"{title}: {_GENERIC if status == 500 else error.message}"


def checked(schema: ma.Schema, said: Mapping[str, Any]) -> dict[str, Any]:
    """A form as a request of the API. Raises InvalidRequest."""
    try:
        read: dict[str, Any] = schema.load(said)
    except ma.ValidationError as error:
        raise InvalidRequest("The form is not filled in as it should be", {"errors": error.messages}) from error
    return read


def given(said: Mapping[str, str], *names: str) -> dict[str, Any]:
    """Of ``names`` the fields that are not empty."""
    return {name: said[name].strip() for name in names if said.get(name, "").strip()}


def in_utc(said: Mapping[str, str]) -> dict[str, Any]:
    """Fields of a browser's date and time, which know no zone, are meant in UTC."""
    return {
        name: f"{value}Z" if name in ("since", "until") and len(value) in (16, 19) else value
        for name, value in said.items()
    }
