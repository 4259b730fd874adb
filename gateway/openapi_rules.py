"""What all operations of the OpenAPI document have in common, added to what their decorators said.

Owns: names, headers, problems and links that follow from an operation's form, so that no endpoint can forget them.
Must not know: single endpoints, Flask, or how the document is served.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway import openapi_parts as parts
from gateway.openapi_examples import ANSWERS, REQUESTS
from gateway.openapi_links import links_of
from gateway.openapi_text import DESCRIPTION, SUMMARY

METHODS = ("get", "post", "put", "patch", "delete")
_CREATED, _ACCEPTED, _NOT_MODIFIED = "201", "202", "304"

FURTHER_PARAMETERS = "x-further-parameters"
"""Where an operation's decorators leave the parameters that no schema describes."""

Json = dict[str, Any]


def complete(document: Json) -> Json:
    """The document with everything that holds for all; changes and returns ``document``."""
    document["info"] |= {
        "summary": SUMMARY,
        "description": DESCRIPTION,
        "license": {"name": "MIT", "identifier": "MIT"},
    }
    document["servers"] = [{"url": "/", "description": "Where this document comes from"}]
    for path, _, operation in operations(document):
        _complete(operation, has_id="{" in path)
    for operation, links in links_of(document):
        _success(operation)["links"] = links
    document["components"] |= {
        "securitySchemes": parts.SECURITY_SCHEMES,
        "headers": parts.HEADERS,
        "parameters": parts.PARAMETERS,
        "responses": parts.problem_responses(),
    }
    return document


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Json]]:
    """(path, method, operation) of every operation."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _complete(operation: Json, *, has_id: bool) -> None:
    operation["operationId"] = _operation_id(operation)
    operation["parameters"] = [*operation.get("parameters", ()), *operation.pop(FURTHER_PARAMETERS, ())]
    problems = _problems(operation, has_id=has_id)
    successes = {status: _success_response(found, status, operation) for status, found in _successes(operation)}
    if "If-None-Match" in _header_names(operation):
        successes[_NOT_MODIFIED] = parts.not_modified()
    refusals = {str(status): parts.problem_reference(status) for status in sorted(problems)}
    operation["responses"] = successes | refusals
    operation["parameters"].append(parts.REQUEST_ID_PARAMETER)
    _show_examples(operation)


def _operation_id(operation: Json) -> str:
    """The view's name; a verb alone gets its noun: two nouns may have the same verb."""
    name = str(operation["operationId"])
    first, *others = re.split(r"[-_]", operation["tags"][0])
    noun = first + "".join(word.capitalize() for word in others)
    return name if re.search(r"[A-Z]", name) else f"{noun}{name[0].upper()}{name[1:]}"


def _problems(operation: Json, *, has_id: bool) -> set[int]:
    """Every status that a refusal of this operation can have; 500 is no part of any promise."""
    headers = _header_names(operation)
    is_protected, has_body = bool(operation.get("security")), "requestBody" in operation
    said = {int(status) for status in operation["responses"] if status.isdigit() and int(status) >= 400}
    # A query parameter that is not known is refused everywhere.
    return (said | {422}) - {500} | {
        status
        for status, holds in (
            (400, has_body or "Idempotency-Key" in headers),
            (401, is_protected),
            (403, is_protected),
            (404, has_id),
            (409, "Idempotency-Key" in headers),
            (412, "If-Match" in headers),
            (413, has_body),
            (414, has_id or any(parameter.get("in") == "query" for parameter in operation.get("parameters", ()))),
            (415, has_body),
            (428, "If-Match" in headers),
            (429, is_protected),
            (503, is_protected),
        )
        if holds
    }


def _successes(operation: Json) -> Iterator[tuple[str, Json]]:
    for status, response in operation["responses"].items():
        if status.isdigit() and int(status) < 400:
            yield status, response


def _success(operation: Json) -> Json:
    return next(response for status, response in _successes(operation) if status != _NOT_MODIFIED)


def _success_response(response: Json, status: str, operation: Json) -> Json:
    asked = _header_names(operation)
    names = {
        "X-Request-Id": True,
        "Location": status in (_CREATED, _ACCEPTED),
        "Idempotent-Replayed": "Idempotency-Key" in asked,
        "ETag": bool({"If-Match", "If-None-Match"} & asked),
    }
    headers = {name: parts.header_reference(name) for name, holds in names.items() if holds}
    # A schema would be taken for that of each message, and they differ: words and an example say more.
    response.get("content", {}).get("text/event-stream", {}).pop("schema", None)
    return {**response, "headers": {**headers, **response.get("headers", {})}}


def _header_names(operation: Json) -> set[str]:
    return {parameter["name"] for parameter in operation["parameters"] if parameter.get("in") == "header"}


def _show_examples(operation: Json) -> None:
    name = operation["operationId"]
    if name in REQUESTS:
        operation["requestBody"]["content"]["application/json"]["examples"] = _named(REQUESTS[name])
    if name in ANSWERS:
        _success(operation)["content"]["application/json"]["examples"] = _named(ANSWERS[name])


def _named(examples: Mapping[str, Any]) -> Json:
    return {
        re.sub(r"[^A-Za-z0-9]+", "-", title): {"summary": title, "value": value} for title, value in examples.items()
    }
