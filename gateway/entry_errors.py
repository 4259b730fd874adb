"""Refusals inside an answer: one entry of several was refused, the others were not.

Owns: from {"code", "message", "details"} back to the class it was. Must not know: which answers have entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.services import ServiceFailed
from shared.errors import ERRORS_BY_NAME, OrderSagaError

_ERRORS_BY_CODE: Mapping[str, type[OrderSagaError]] = {kind.code: kind for kind in ERRORS_BY_NAME.values()}


def entry_error(said: Any) -> OrderSagaError:
    """Of shared.errors; ServiceFailed for a code that is not known there."""
    fields = said if isinstance(said, dict) else {}
    code, message, details = fields.get("code"), fields.get("message"), fields.get("details")
    kind = _ERRORS_BY_CODE.get(code) if isinstance(code, str) else None
    if kind is None:
        return ServiceFailed("The service refused an entry for an unknown reason", {"code": str(code)[:100]})
    return kind(message if isinstance(message, str) else "", details if isinstance(details, dict) else None)
