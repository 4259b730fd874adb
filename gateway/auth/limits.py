"""How often somebody may ask: logins by address and by name, everything else by whoever is logged in.

Owns: what is counted under which name, and 429. Must not know: how a request is answered.

Each worker counts for itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network

from flask import Flask, Response, current_app, request
from limits import RateLimitItem, parse_many
from limits.strategies import FixedWindowRateLimiter

from gateway.access import ANYBODY, access_of, caller
from gateway.auth.accounts import folded
from gateway.auth.counters import BoundedCounters
from gateway.json_body import read_json
from gateway.problems import problem
from gateway.request_errors import TooManyRequests
from gateway.request_id import request_id
from shared.config import Source
from shared.errors import Misconfigured

LOGIN_ENDPOINT = "auth.issue_token"
LOGIN_FORM_ENDPOINT = "login.log_in"
_READS = ("GET", "HEAD")
_WRITES = ("POST", "PUT", "PATCH", "DELETE")
# A name may be tried more often than one address may try: nobody can lock its owner out from a single one.
ADDRESSES_OF_A_NAME = 5
# Whoever has one address of version 6 has all that share its first 64 bits.
_PREFIX_OF_A_LINE = 64


@dataclass(frozen=True, kw_only=True)
class RateLimits:
    """Each like "10/minute" or "10/minute;100/hour"; empty or "off": no limit."""

    login: str = "10/minute"
    write: str = "600/minute"
    read: str = "6000/minute"

    @classmethod
    def read_from(cls, source: Source) -> RateLimits:
        return cls(
            login=_limit(source, "LOGIN_RATE_LIMIT", cls.login),
            write=_limit(source, "WRITE_RATE_LIMIT", cls.write),
            read=_limit(source, "READ_RATE_LIMIT", cls.read),
        )


def _limit(source: Source, name: str, default: str) -> str:
    text = source.values.get(name, default).strip()
    try:
        _parsed(text)
    except ValueError as error:
        raise Misconfigured(f"{name} should be like {default} or {default};10000/hour, not {text!r}") from error
    return text


def _parsed(text: str) -> list[RateLimitItem]:
    """Raises ValueError."""
    items = parse_many(text) if text not in ("", "off") else []
    if any(item.amount < 1 for item in items):
        raise ValueError("nobody could ask at all")
    return items


_COUNTED = {
    "login-address": "logins, good ones too, from this address",
    "login-name": "logins with this name",
    "read": "reads",
    "write": "writes",
}


class LimitExceeded(TooManyRequests):
    """``retry_after_s``: then there is room again."""

    def __init__(self, allowed: RateLimitItem, what: str, retry_after_s: int) -> None:
        super().__init__(f"More than {allowed} {what}; there is room again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Limiter:
    """Counts in this process. Safe from any thread."""

    def __init__(self, allowed: RateLimits) -> None:
        self._strategy = FixedWindowRateLimiter(BoundedCounters())
        self._login = _parsed(allowed.login)
        self._login_name = [type(item)(item.amount * ADDRESSES_OF_A_NAME, item.multiples) for item in self._login]
        self._by_method = {
            **dict.fromkeys(_READS, ("read", _parsed(allowed.read))),
            **dict.fromkeys(_WRITES, ("write", _parsed(allowed.write))),
        }

    def count_login(self) -> None:
        """The address first: who is refused for that uses up nobody's name. Raises LimitExceeded."""
        if self._login:
            self._count(self._login, "login-address", _address())
            self._count(self._login_name, "login-name", _account_name())

    def count(self, method: str, subject: str) -> None:
        """Raises LimitExceeded."""
        if method in self._by_method:
            kind, allowed = self._by_method[method]
            self._count(allowed, kind, subject)

    def _count(self, allowed: list[RateLimitItem], kind: str, name: str) -> None:
        for item in allowed:
            if not self._strategy.hit(item, kind, name):
                ends_at = self._strategy.get_window_stats(item, kind, name).reset_time
                raise LimitExceeded(item, _COUNTED[kind], max(1, math.ceil(ends_at - time.time())))


def install_limits(app: Flask, allowed: RateLimits) -> None:
    """After the guard: who asks must be known."""
    limiter = Limiter(allowed)

    def count() -> None:
        if request.endpoint in (LOGIN_ENDPOINT, LOGIN_FORM_ENDPOINT):
            limiter.count_login()
        elif not _is_for_everybody():
            limiter.count(request.method, caller().subject)

    app.before_request(count)
    app.register_error_handler(LimitExceeded, _on_exceeded)


def _on_exceeded(error: LimitExceeded) -> Response:
    headers = {"Retry-After": str(error.retry_after_s)}
    return problem(error.code, detail=error.message, request_id=request_id(), headers=headers)


def _is_for_everybody() -> bool:
    """Public, unknown paths and methods too: nobody has to say who they are, so there is nobody to count."""
    rule = request.url_rule
    return rule is None or access_of(current_app.view_functions[rule.endpoint]) == ANYBODY


def _address() -> str:
    address = request.remote_addr or "unknown"
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((parsed.packed, _PREFIX_OF_A_LINE), strict=False))
    return address


def _account_name() -> str:
    """Of a fixed length, whatever was sent. Raises what a body without JSON raises."""
    body = request.form if request.endpoint == LOGIN_FORM_ENDPOINT else read_json(request)
    name = body.get("username") if isinstance(body, Mapping) else None
    said = folded(name) if isinstance(name, str) else ""
    return sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
