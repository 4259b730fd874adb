"""What the server itself refuses, before there is a request: a problem document like any other.

Owns: the bytes of such an answer, and which error of gunicorn's parser means which status. Must not know: connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from uuid import uuid4

from gunicorn.http import errors  # type: ignore[import-untyped]

from gateway.problems import problem
from gateway.request_id import HEADER as REQUEST_ID_HEADER
from gateway.security_headers import API_HEADERS
from gateway.serving.incoming import Refused

_STATUS_BY_ERROR: Mapping[type[Exception], HTTPStatus] = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
}
# A header that the application tried to send, or a setting, is no fault of the client.
_OURS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)


def refusal_of(error: Exception) -> Refused | None:
    """What the client did wrong; None if the error is ours."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, _OURS) or not isinstance(error, errors.ParseException):
        return None
    status = _STATUS_BY_ERROR.get(type(error), HTTPStatus.BAD_REQUEST)
    code = "uri_too_long" if status is HTTPStatus.REQUEST_URI_TOO_LONG else "bad_request"
    return Refused(status, code, str(error))


def refusal_bytes(refused: Refused) -> bytes:
    """The whole answer, after which the connection is closed."""
    return _answer(refused.code, refused.status, refused.detail)


def failure_bytes() -> bytes:
    """For a fault of our own outside the application, of which nothing is told."""
    detail = "Something went wrong on our side; it is logged."
    return _answer("internal_error", HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def _answer(code: str, status: HTTPStatus, detail: str) -> bytes:
    request_id = str(uuid4())
    # What was sent is quoted by some of the parser's messages: only what every reader can show.
    readable = detail.encode("ascii", "backslashreplace").decode("ascii")
    response = problem(code, detail=readable, request_id=request_id, status=status.value)
    body = response.get_data()
    headers = {
        **API_HEADERS,
        "Content-Type": response.headers["Content-Type"],
        "Content-Length": str(len(body)),
        REQUEST_ID_HEADER: request_id,
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
