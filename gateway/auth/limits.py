"""How often somebody may ask: logins by address and by name, everything else by whoever is logged in.

Owns: what is counted under which name, and 429. Must not know: how a request is answered.

Each worker counts for itself.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network

import limits
from flask import Flask, Response, current_app, request
from flask_limiter import ApplicationLimit, Limiter, RateLimitExceeded

from gateway.access import ANYBODY, access_of, caller
from gateway.auth import counters
from gateway.auth.accounts import folded
from gateway.json_body import read_json
from gateway.problems import problem
from gateway.request_id import request_id
from shared.config import Source
from shared.errors import Misconfigured
from shared.identity import ANONYMOUS

LOGIN_ENDPOINT = "auth.issue_token"
_READS = ("GET", "HEAD")
_WRITES = ("POST", "PUT", "PATCH", "DELETE")
# Whoever has one address of version 6 has all that share its first 64 bits.
_PREFIX_OF_A_LINE = 64


@dataclass(frozen=True, kw_only=True)
class RateLimits:
    """Each like "10/minute" or "10/minute;100/hour"; empty: no limit."""

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
        if text:
            limits.parse_many(text)
    except ValueError as error:
        raise Misconfigured(f"{name} should be like {default} or {default};10000/hour, not {text!r}") from error
    return text


def install_limits(app: Flask, allowed: RateLimits) -> None:
    """After the guard: who asks must be known. The first limit that is exceeded ends the request."""
    limiter = Limiter(
        _subject,
        application_limits=[
            # In this order: who is refused for their address uses up nobody's name.
            ApplicationLimit(allowed.login, key_function=_address, scope="login-address", exempt_when=_is_no_login),
            ApplicationLimit(allowed.login, key_function=_account_name, scope="login-name", exempt_when=_is_no_login),
            ApplicationLimit(allowed.write, scope="write", methods=_WRITES, exempt_when=_is_for_everybody),
            ApplicationLimit(allowed.read, scope="read", methods=_READS, exempt_when=_is_for_everybody),
        ],
        storage_uri=f"{counters.SCHEME}://",
        strategy="fixed-window",
    )
    limiter.init_app(app)

    def refuse(error: RateLimitExceeded) -> Response:
        ends_at = limiter.current_limit.reset_at if limiter.current_limit else 0
        return problem(
            "too_many_requests",
            detail=f"More than {error.description}; try again later",
            request_id=request_id(),
            headers={"Retry-After": str(max(1, math.ceil(ends_at - time.time())))},
        )

    app.register_error_handler(RateLimitExceeded, refuse)


def _is_no_login() -> bool:
    return request.endpoint != LOGIN_ENDPOINT


def _is_for_everybody() -> bool:
    """Also unknown paths and methods, which cost nothing."""
    rule = request.url_rule
    return rule is None or caller() is ANONYMOUS or access_of(current_app.view_functions[rule.endpoint]) == ANYBODY


def _subject() -> str:
    return caller().subject


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
    body = read_json(request)
    name = body.get("username") if isinstance(body, dict) else None
    said = folded(name) if isinstance(name, str) else ""
    return sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
