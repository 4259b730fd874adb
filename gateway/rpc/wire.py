"""Nameko's wire format for RPC: requests to bytes, replies to results or errors.

Owns: the message shapes. Must not know: connections, threads or deadlines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.services import ServiceFailed
from shared.errors import ERRORS_BY_NAME

EXCHANGE = "nameko-rpc"
CONTENT_TYPE = "application/json"


def encode_call(kwargs: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"args": [], "kwargs": kwargs})


def decode_reply(body: bytes) -> Any:
    """The result, or raise: the error of shared.errors that the service raised, else ServiceFailed."""
    try:
        reply = orjson.loads(body)
        error = reply["error"]
        result = reply["result"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as broken:
        raise ServiceFailed("The service's reply is not one", {"reply_bytes": len(body)}) from broken
    if error is None:
        return result
    raise _remote_error(error)


def _remote_error(error: Any) -> Exception:
    fields = error if isinstance(error, dict) else {}
    name = str(fields.get("exc_type"))
    known = ERRORS_BY_NAME.get(name)
    if known is None:
        return ServiceFailed("The service failed", {"exc_type": name, "value": str(fields.get("value"))[:500]})
    arguments = fields.get("exc_args")
    padded: list[Any] = [*(arguments if isinstance(arguments, list) else []), "", {}]
    message, details = padded[:2]
    return known(message if isinstance(message, str) else "", details if isinstance(details, dict) else None)
