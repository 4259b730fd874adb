"""What schemathesis cannot know of this API, in its own terms; loaded by it through SCHEMATHESIS_HOOKS.

Owns: fresh keys, things that exist, tokens, and which refusals say nothing about a request's form.
Must not know: single operations, where it can be helped.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import requests
import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.openapi.checks import RejectedPositiveData

from ops.state import SIGNING_VARIABLE
from payment_service.webhooks import sign

from .tokens import CUSTOMER, SHOP
from .variables import KNOWN, SEED, TOKENS

CHAOS = "/api/v1/admin/chaos"
KEY, SIGNATURE = "Idempotency-Key", "PSP-Signature"
TIMEOUT_S = 30.0
# Refused for its form: the document should have said so. Any other code is about what there is: items, amounts, keys.
FORM_CODES = frozenset(
    {
        "bad_request",
        "malformed_json",
        "idempotency_key_required",
        "invalid_idempotency_key",
        "unsupported_media_type",
        "payload_too_large",
        "uri_too_long",
        "method_not_allowed",
        "precondition_required",
        "invalid_request",
    }
)
# A cursor or a pass's `since` has a form, but only those from an answer mean anything; an operator has no shop of their
# own; which trouble goes with which target and amount is the services' to say, and what time it is.
UNSAYABLE = frozenset({"cursor", "since", "#/sellerId", "#/target", "#/amount", "#/until"})
PROMISED = (b'"too_many_streams"', b'"finance_view_off"')
_TOKENS: dict[str, str] = json.loads(os.environ[TOKENS])
_LOCATION = re.compile(r"/api/v1/(\w+?)s/([^/?]+)$")
_PAYMENT_OF_AN_ORDER = re.compile(rb'"payment":\{"paymentId":"([^"]+)"')
# With the seed of the run, so that a run can be repeated.
_random = random.Random(os.environ[SEED])  # noqa: S311
_sent = 0
_known: dict[str, list[str]] = defaultdict(list, json.loads(os.environ[KNOWN]))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Random ids name nothing and random items are not sold: most requests should get further than that."""
    global _sent  # noqa: PLW0603
    _sent += 1
    if KEY in (case.headers or {}) and not _is_negative(case, ParameterLocation.HEADER) and _random.random() < 0.95:
        case.headers[KEY] = f"{str(case.headers[KEY])[:200]}.{_sent}"
    if case.path_parameters and not _is_negative(case, ParameterLocation.PATH) and _mostly():
        for name in case.path_parameters:
            if known := _known[name]:
                case.path_parameters[name] = _random.choice(known)
    if isinstance(case.body, dict) and not _is_negative(case, ParameterLocation.BODY) and _mostly():
        _make_real(case.body)
    if SIGNATURE in (case.headers or {}) and not _is_negative(case, ParameterLocation.HEADER) and _mostly():
        kwargs["auth"] = _signed


def _signed(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """As the provider would: otherwise nothing gets further than the signature."""
    body = request.body or b""
    text = body if isinstance(body, str) else body.decode(errors="replace")
    request.headers[SIGNATURE] = sign(text, secret=os.environ[SIGNING_VARIABLE], at=datetime.now(UTC))
    return request


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Remembers what now exists, by the name of the path parameter that it can fill."""
    if case.path == CHAOS and case.method in ("PATCH", "POST") and response.status_code < 300:
        _end_chaos(response)
    location = (response.headers.get("location") or [""])[0]
    if found := _LOCATION.search(location):
        _keep("item" if found[1] == "product" else f"{found[1]}_id", found[2])
    if found := _PAYMENT_OF_AN_ORDER.search(response.content):
        _keep("payment_id", found[1].decode())


def _end_chaos(response: Any) -> None:
    """That it was switched on is enough: nobody else should have to bear it."""
    headers = {"Authorization": f"Bearer {_TOKENS['ADMIN']}"}
    requests.delete(response.request.url.split("?")[0], headers=headers, timeout=TIMEOUT_S).raise_for_status()


def _keep(name: str, value: str) -> None:
    """The first ones, and the latest: older things have ended."""
    if value not in _known[name]:
        _known[name] = [*_known[name][:20], *_known[name][20:][-30:], value]


def _make_real(body: dict[str, Any]) -> None:
    """The same request about things that exist, in the name of whoever sends it."""
    for name, value in (("userId", CUSTOMER), ("sellerId", SHOP)):
        if name in body:
            body[name] = value
    if isinstance(body.get("item"), str):
        # Products are made anew, everything else is about one that there is.
        body["item"] = f"{body['item'][:40]}-{_sent}" if "onHand" in body else _random.choice(_known["item"])
    for line, item in zip(_lines(body), _random.sample(_known["item"][:3], 3), strict=False):
        line["item"] = item
    if isinstance(body.get("items"), list):
        # One seller in most orders; the rest of a long list would be unknown.
        body["items"] = body["items"][: _random.choice((1, 1, 2, 3))]
        body.pop("price", None)
        body.pop("currency", None)
    for name, parameter in (("reservationId", "reservation_id"), ("orderId", "order_id"), ("cartId", "cart_id")):
        if name in body and _known[parameter]:
            body[name] = _random.choice(_known[parameter])
    if "paymentMethod" in body:
        body["paymentMethod"] = _random.choice(("tok_success", "tok_success", "tok_card_declined", "tok_slow"))


def _lines(body: dict[str, Any]) -> list[dict[str, Any]]:
    lines = body.get("items")
    return [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []


def _mostly() -> bool:
    return _random.random() < 0.75


def _is_negative(case: Any, location: ParameterLocation) -> bool:
    return case.meta is not None and case.meta.is_negative_at(location)


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """A well-formed request may still be refused for what it is about; the document cannot say what there is.

    And whoever leaves streams faster than that is noticed has too many open, and without change data capture there is
    no finance view: promises kept, not broken.
    """
    if response.status_code == 503 and any(code in response.content for code in PROMISED):
        return False
    return not (isinstance(failure, RejectedPositiveData) and _is_about_what_there_is(response))


def _is_about_what_there_is(response: Any) -> bool:
    try:
        problem = response.json()
    except ValueError:
        return False
    wrong = {error.get("parameter") or error.get("pointer") for error in problem.get("errors", ())}
    return problem.get("code") not in FORM_CODES or (bool(wrong) and wrong <= UNSAYABLE)


@schemathesis.check
def repeated_with_the_same_key(ctx: Any, response: Any, case: Any) -> None:
    """The same request once more gives the same answer and says that it is not new."""
    request = response.request
    if request.method == "OPTIONS" or not 200 <= response.status_code < 300 or KEY not in request.headers:
        return
    with requests.Session() as session:
        again = session.send(request.copy(), timeout=TIMEOUT_S)
    assert again.status_code == response.status_code, f"repeated: {again.status_code} {again.text}"
    assert again.headers.get("Idempotent-Replayed") == "true", f"repeated: {dict(again.headers)}"
    assert again.json() == response.json(), f"repeated: {again.text}"


# Not kept: another role may be wanted for the next request.
@schemathesis.auth(refresh_interval=None)
class TokenOfARoleThatMay:
    """Each operation is called in the name of somebody who may use it."""

    def get(self, case: Any, context: Any) -> str | None:
        roles = case.operation.definition.raw.get("x-roles")
        return _TOKENS[_random.choice(roles)] if roles else None

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}
