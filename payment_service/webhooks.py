"""The provider's webhooks: how they are signed, and the strict way in for those that come.

Owns: the signature, its age, the shape of the body. Must not know: HTTP, attempts, what is done about an outcome.

``PSP-Signature: t=<unix time>,v1=<hex hmac-sha256 of "t.body">``; several v1 while the provider changes its secret.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from payment_service.provider import Approved, Declined, Processing
from shared.errors import InvalidRequest, InvalidSignature

SIGNATURE_HEADER = "PSP-Signature"
TOLERANCE_S = 300
PROCESSING, SUCCEEDED, FAILED = "charge.processing", "charge.succeeded", "charge.failed"
_LONGEST_BODY = 16_384
_LONGEST_SIGNATURE = 1_000
_MOST_SIGNATURES = 5
_LONGEST_TEXT = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookEvent:
    """What the provider tells: ``key`` is that of the charge, ``id`` stays the same when it tells again."""

    id: str
    key: str
    outcome: Approved | Declined | Processing


def sign(body: str, *, secret: str, at: datetime) -> str:
    """The signature header's value for ``body`` sent at that moment."""
    seconds = int(at.timestamp())
    return f"t={seconds},v1={_digest(body, secret, seconds)}"


def read_webhook(body: str, signature: str, *, secret: str, now: datetime) -> WebhookEvent:
    """The event in ``body``, once it is certain who sent it.

    Raises InvalidSignature when it is not signed with ``secret`` or not within TOLERANCE_S of ``now``, InvalidRequest
    when it is, and makes no sense all the same.
    """
    _check_size(body, signature)
    seconds, digests = _parts_of(signature)
    expected = _digest(body, secret, seconds)
    # All of them are compared, each in constant time.
    if sum(hmac.compare_digest(expected, digest) for digest in digests) == 0:
        raise InvalidSignature("the signature does not fit the body")
    if abs(now.timestamp() - seconds) > TOLERANCE_S:
        raise InvalidSignature(f"signed more than {TOLERANCE_S} s ago, or ahead of time")
    return _event(body)


def _check_size(body: str, signature: str) -> None:
    if len(signature) > _LONGEST_SIGNATURE:
        raise InvalidSignature("the signature is too long")
    if len(body) > _LONGEST_BODY:
        raise _refusal("body", f"should be at most {_LONGEST_BODY} characters")


def _parts_of(signature: str) -> tuple[int, list[str]]:
    times: list[str] = []
    digests: list[str] = []
    for part in signature.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            times.append(value)
        elif name == "v1" and re.fullmatch(r"[0-9a-f]{64}", value):
            digests.append(value)
    if len(times) != 1 or not re.fullmatch(r"[0-9]{1,12}", times[0]) or not 1 <= len(digests) <= _MOST_SIGNATURES:
        raise InvalidSignature(f"{SIGNATURE_HEADER} should be t=<unix time>,v1=<hex digest>")
    return int(times[0]), digests


def _digest(body: str, secret: str, seconds: int) -> str:
    if not secret:
        # Anybody can sign with the empty secret.
        raise InvalidSignature("no webhook secret is configured")
    # A lone surrogate cannot be encoded; whatever it becomes, nobody has signed it.
    signed = f"{seconds}.{body}".encode(errors="replace")
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _event(body: str) -> WebhookEvent:
    document = _document(body)
    data = document.get("data")
    if not isinstance(data, dict):
        raise _refusal("data", "should be an object")
    # A key that is none of ours is for whoever knows the keys to notice, also when it is empty.
    key = _short_text(data, "key", least=0)
    return WebhookEvent(id=_short_text(document, "id"), key=key, outcome=_outcome(document.get("type"), data))


def _document(body: str) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except ValueError:
        # The decoder's own words may quote the body.
        raise _refusal("body", "should be JSON") from None
    if not isinstance(document, dict):
        raise _refusal("body", "should be a JSON object")
    return document


def _outcome(kind: Any, data: dict[str, Any]) -> Approved | Declined | Processing:
    if kind == SUCCEEDED:
        return Approved(reference=_short_text(data, "reference"))
    if kind == FAILED:
        return Declined(reason=_short_text(data, "reason"))
    if kind == PROCESSING:
        return Processing(reference=_short_text(data, "reference"))
    raise _refusal("type", f"should be {PROCESSING}, {SUCCEEDED} or {FAILED}")


def _short_text(document: dict[str, Any], name: str, *, least: int = 1) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not least <= len(value) <= _LONGEST_TEXT or "\0" in value:
        raise _refusal(name, f"should be a text of {least} to {_LONGEST_TEXT} characters")
    return value


def _refusal(field: str, message: str) -> InvalidRequest:
    return InvalidRequest("not a webhook of the provider", {"errors": {field: [message]}})
