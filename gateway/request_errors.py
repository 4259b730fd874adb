"""What the gateway itself refuses before any service is asked.

Owns: error classes of requests whose form is wrong. Must not know: HTTP statuses (see problems) or endpoints.
"""

from __future__ import annotations

from shared.errors import InvalidRequest, PermanentError, TransientError


class MalformedJson(PermanentError):
    """The body is not strict UTF-8 JSON, or has duplicate names or too deep a nesting."""

    code = "malformed_json"


class UnsupportedMediaType(PermanentError):
    """The body's Content-Type is not JSON, or it is compressed."""

    code = "unsupported_media_type"


class InvalidQuery(InvalidRequest):
    """A query parameter is not known, not valid, or there twice; whatever the method."""


class IdempotencyKeyRequired(PermanentError):
    """A POST that changes something must say which one it is, so that it can be repeated."""

    code = "idempotency_key_required"


class InvalidIdempotencyKey(PermanentError):
    code = "invalid_idempotency_key"


class NotReady(TransientError):
    """A service this gateway depends on is down; details: {"services": {name: health}}."""

    code = "not_ready"


class Unauthenticated(PermanentError):
    """No bearer token, or one that is not valid (any more)."""

    code = "unauthenticated"


class LoginRequired(PermanentError):
    """A page was asked for without a session, or with one that is over."""

    code = "unauthenticated"


class InvalidCredentials(PermanentError):
    """Which of the two is wrong is not said: that would tell who has an account."""

    code = "invalid_credentials"


class PreconditionRequired(PermanentError):
    """A change must say which version it is meant for, so that nobody overwrites what they have not seen."""

    code = "precondition_required"


class TooManyRequests(TransientError):
    """More than this caller may send in a while."""

    code = "too_many_requests"


class IssuerUnavailable(TransientError):
    """The keys of the token's issuer cannot be fetched just now."""

    code = "issuer_unavailable"


class TooManyStreams(TransientError):
    """Each open stream holds a thread; polling stays possible."""

    code = "too_many_streams"
