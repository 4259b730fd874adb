"""The OpenAPI document: valid, complete, and true: what it shows is accepted, what it forbids is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import marshmallow as ma
import pytest
from flask import Flask
from flask.testing import FlaskClient
from harness.login import client_of
from harness.services import FakeServices
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from gateway.openapi import ApiBlueprint, create_api
from gateway.openapi_examples import ANSWERS, REQUESTS
from gateway.openapi_rules import operations
from shared.errors import DatabaseUnavailable
from shared.identity import Role

DOCUMENT = client_of(FakeServices(), None).get("/openapi.json").get_json()
OPERATIONS = {operation["operationId"]: (path, method, operation) for path, method, operation in operations(DOCUMENT)}
ID = "01a214ee-bc8e-72a8-afa8-ffc5d434af6e"
FILLED_IN = {"item": "mug"}


class Unavailable:
    """Services that are asked in vain: whatever gets as far as them was accepted by the gateway."""

    def call(self, *_: Any, **__: Any) -> Any:
        raise DatabaseUnavailable("not now")


@pytest.fixture
def client() -> FlaskClient:
    return client_of(Unavailable())


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    found: Any = DOCUMENT
    if "$ref" not in part:
        return part
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name.replace("~1", "/")]
    return resolved(found)


def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def headers_of(operation: dict[str, Any]) -> dict[str, str]:
    """The required ones, as the document shows them."""
    wanted = [resolved(parameter) for parameter in operation["parameters"]]
    return {
        parameter["name"]: next(iter(parameter["schema"].get("examples", ["key-1"])))
        for parameter in wanted
        if parameter["in"] == "header" and parameter["required"]
    }


def path_of(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: FILLED_IN.get(match[1], ID), path)


def request_examples() -> Iterator[tuple[str, str]]:
    for name, (_, _, operation) in OPERATIONS.items():
        if "requestBody" in operation:
            yield from ((name, title) for title in operation["requestBody"]["content"]["application/json"]["examples"])


def answer_examples() -> Iterator[tuple[str, str, str, dict[str, Any], Any]]:
    for name, (_, _, operation) in OPERATIONS.items():
        for status, response in operation["responses"].items():
            for content in resolved(response).get("content", {}).values():
                if "schema" not in content:
                    continue
                for title, example in content.get("examples", {}).items():
                    yield name, status, title, content["schema"], example["value"]


def test_is_valid_openapi_3_1() -> None:
    assert [str(error) for error in OPENAPI_31_VALIDATOR.iter_errors(DOCUMENT)] == []


def test_every_reference_leads_somewhere() -> None:
    references = set(re.findall(r'"\$ref":\s*"([^"]+)"', json.dumps(DOCUMENT)))

    assert references
    for reference in references:
        assert resolved({"$ref": reference})


def test_says_how_to_use_the_api() -> None:
    for word in ("Authorization", "Idempotency-Key", "problem+json", "nextCursor", "Retry-After", "X-Request-Id"):
        assert word in DOCUMENT["info"]["description"]


def test_names_are_there_once_and_read_well() -> None:
    names = [operation["operationId"] for _, _, operation in operations(DOCUMENT)]

    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", name) for name in names)
    assert {"placeOrder", "listOrders", "inventoryReserve", "healthLive", "probesLive"} <= set(names)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_documented_like_all_others(name: str) -> None:
    path, _, operation = OPERATIONS[name]
    statuses = set(operation["responses"])
    success = next(iter(operation["responses"].values()))

    assert operation["summary"]
    assert operation["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    assert "X-Request-Id" in success["headers"]
    assert "422" in statuses
    assert not {"500", "default"} & statuses
    assert ({"401", "403", "429", "503"} <= statuses) == bool(operation["security"])
    if "{" in path:
        assert "404" in statuses
    if "requestBody" in operation:
        assert {"400", "413", "415"} <= statuses
    if {"201", "202"} & statuses:
        assert "Location" in success["headers"]


def test_a_header_that_is_asked_for_brings_its_own_statuses_and_headers() -> None:
    _, _, operation = OPERATIONS["placeOrder"]

    assert {"400", "409"} <= set(operation["responses"])
    assert "Idempotent-Replayed" in operation["responses"]["202"]["headers"]


def test_a_problem_has_the_codes_of_its_status() -> None:
    content = DOCUMENT["components"]["responses"]["NotFound"]["content"]["application/problem+json"]
    check = validator(content["schema"])
    problem = content["examples"]["order_not_found"]["value"]

    assert check.is_valid(problem)
    assert not check.is_valid({**problem, "code": "internal_error"})
    assert not check.is_valid({**problem, "status": 409})


@pytest.mark.parametrize("name", [name for name, (_, _, operation) in OPERATIONS.items() if "requestBody" in operation])
def test_every_body_has_an_example(name: str) -> None:
    assert REQUESTS[name]


def test_every_example_belongs_to_an_operation() -> None:
    assert set(REQUESTS) | set(ANSWERS) <= set(OPERATIONS)


@pytest.mark.parametrize(("name", "title"), list(request_examples()))
def test_a_request_that_is_shown_is_accepted(client: FlaskClient, name: str, title: str) -> None:
    path, method, operation = OPERATIONS[name]
    content = operation["requestBody"]["content"]["application/json"]
    body = content["examples"][title]["value"]

    response = client.open(path_of(path), method=method.upper(), json=body, headers=headers_of(operation))

    assert validator(content["schema"]).is_valid(body)
    # Logging in needs no service.
    assert response.status_code in (200, 503), response.text


@pytest.mark.parametrize(("name", "status", "title", "schema", "value"), list(answer_examples()))
def test_an_answer_that_is_shown_is_as_documented(
    name: str, status: str, title: str, schema: dict[str, Any], value: Any
) -> None:
    assert [str(error) for error in validator(schema).iter_errors(value)] == []


def test_links_lead_to_operations_with_what_they_need() -> None:
    links = [
        link
        for _, _, operation in operations(DOCUMENT)
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]

    assert {"getOrder", "fulfilOrder", "getPayment", "inventoryCommit"} <= {link["operationId"] for link in links}
    for link in links:
        path, _, _ = OPERATIONS[link["operationId"]]
        assert set(link.get("parameters", {})) == set(re.findall(r"\{(\w+)\}", path))


@pytest.mark.parametrize(
    ("method", "path", "parameter"),
    [
        ("GET", f"/api/v1/orders/{ID}?include=all", "include"),
        ("GET", "/api/v1/orders?limit=1&limit=2", "limit"),
        ("GET", "/api/v1/health/live?x", "x"),
        ("POST", f"/api/v1/orders/{ID}/cancel?by=seller", "by"),
    ],
)
def test_a_query_parameter_that_is_unknown_or_there_twice_is_refused(
    client: FlaskClient, method: str, path: str, parameter: str
) -> None:
    response = client.open(path, method=method, json={} if method == "POST" else None)

    assert (response.status_code, response.get_json()["code"]) == (422, "invalid_request")
    assert [error["parameter"] for error in response.get_json()["errors"]] == [parameter]


class Page(ma.Schema):
    limit = ma.fields.Integer()


class Change(ma.Schema):
    """At least one member."""

    class Meta:
        json_schema = {"minProperties": 1}  # noqa: RUF012 -- as marshmallow declares options

    name = ma.fields.String()


def header(name: str) -> dict[str, Any]:
    return {"in": "header", "name": name, "required": True, "schema": {"type": "string"}}


@pytest.fixture(scope="module")
def another_api() -> dict[str, Any]:
    """With endpoints that say nothing of what follows from their form."""
    blueprint = ApiBlueprint("vases", __name__, url_prefix="/vases", description="Vases")

    @blueprint.route("/<vase_id>", methods=["GET"])
    @blueprint.allow(Role.USER)
    @blueprint.response(200, Page)
    @blueprint.documented(problems=(), headers=(header("If-None-Match"),))
    @blueprint.arguments(Page, location="query")
    def show_vase(query: dict[str, Any], vase_id: str) -> None:
        """Show"""

    @blueprint.route("/<vase_id>", methods=["PATCH"])
    @blueprint.public
    @blueprint.response(200, Page)
    @blueprint.documented(problems=(409, 500), headers=(header("If-Match"),))
    @blueprint.arguments(Change)
    def change(change: dict[str, Any], vase_id: str) -> None:
        """Change"""

    app = Flask("another")
    api = create_api(app)
    api.register_blueprint(blueprint)
    document: dict[str, Any] = json.loads(api.document())
    return document


def test_what_follows_from_the_form_need_not_be_said(another_api: dict[str, Any]) -> None:
    shown, changed = (another_api["paths"]["/vases/{vase_id}"][method] for method in ("get", "patch"))

    assert [OPENAPI_31_VALIDATOR.is_valid(another_api), shown["operationId"], changed["operationId"]] == [
        True,
        "showVase",
        "vasesChange",
    ]
    assert set(shown["responses"]) == {"200", "304", "401", "403", "404", "414", "422", "429", "503"}
    assert set(changed["responses"]) == {"200", "400", "404", "409", "412", "413", "414", "415", "422", "428"}
    assert "ETag" in shown["responses"]["200"]["headers"]


def test_parameters_of_the_query_stand_beside_headers(another_api: dict[str, Any]) -> None:
    parameters = another_api["paths"]["/vases/{vase_id}"]["get"]["parameters"]

    assert [parameter.get("name") for parameter in parameters] == ["limit", "If-None-Match", None]


def test_a_schema_may_say_more_than_its_fields(another_api: dict[str, Any]) -> None:
    assert another_api["components"]["schemas"]["Change"]["minProperties"] == 1
