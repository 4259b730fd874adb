"""flask-smorest as this gateway uses it: strict parsing, problem documents as errors, typed decorators.

Owns: everything about flask-smorest that endpoints should not have to know. Must not know: endpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar, cast

import marshmallow as ma
import orjson
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Flask, Request, request
from flask_smorest import Api, Blueprint  # type: ignore[import-untyped]
from webargs.flaskparser import FlaskParser

from gateway import access, docs_page
from gateway.documents import Problem
from gateway.errors import install_error_handlers
from gateway.json_body import read_json
from gateway.openapi_rules import FURTHER_PARAMETERS, complete
from gateway.problems import CONTENT_TYPE
from gateway.request_errors import InvalidQuery
from shared.errors import InvalidRequest
from shared.identity import Role

View = TypeVar("View", bound=Callable[..., Any])


class StrictParser(FlaskParser):
    """Reads arguments so that everything unexpected is an error with its place, raised as our own classes."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"json": ma.RAISE, "query": ma.RAISE}  # noqa: RUF012 -- as webargs declares it

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        return read_json(req)

    def handle_error(self, error: ma.ValidationError, req: Request, schema: ma.Schema, **_: Any) -> NoReturn:
        # webargs files the messages under the location they came from
        messages = cast(dict[str, Any], error.messages)
        place, found = next(iter(messages.items()))
        if place == "query":
            raise InvalidQuery("A query parameter is not valid", {"errors": found}) from error
        raise InvalidRequest("A field of the body is not valid", {"errors": found}) from error


class ApiBlueprint(Blueprint):  # type: ignore[misc]  # flask-smorest has no types
    """A flask-smorest blueprint whose decorators keep the types of what they decorate."""

    ARGUMENTS_PARSER = StrictParser()

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        """As flask-smorest's; the view's name is its name in the document too."""
        register = super().route(rule, **options)

        def declare(view: View) -> View:
            named = Blueprint.doc(operationId=_camel_case(view.__name__))(view)
            return cast(View, register(_with_strict_query(named)))

        return declare

    def arguments(self, schema: type[ma.Schema], *, location: str = "json", **options: Any) -> Callable[[View], View]:
        # An instance, made once: given the class, webargs builds the schema anew for every request.
        return cast(Callable[[View], View], super().arguments(schema(), location=location, **options))

    def response(
        self, status_code: int, schema: type[ma.Schema] | dict[str, Any] | None = None, **options: Any
    ) -> Callable[[View], View]:
        return cast(Callable[[View], View], super().response(status_code, schema, **options))

    @staticmethod
    def allow(*roles: Role) -> Callable[[View], View]:
        """Only for callers with one of ``roles``; see gateway.access."""

        def declare(view: View) -> View:
            said = {"security": [{"bearer": []}], "x-roles": sorted(roles)}
            return access.allow(*roles)(cast(View, Blueprint.doc(**said)(view)))

        return declare

    @staticmethod
    def public(view: View) -> View:
        """For everybody; see gateway.access."""
        return access.public(cast(View, Blueprint.doc(security=[])(view)))

    @staticmethod
    def may_answer(status_code: int, description: str) -> Callable[[View], View]:
        """Describe another good answer, one without a body."""
        return cast(Callable[[View], View], Blueprint.doc(responses={status_code: {"description": description}}))

    @staticmethod
    def documented(
        *, problems: tuple[int, ...], headers: tuple[dict[str, Any], ...] = (), body: type[ma.Schema] | None = None
    ) -> Callable[[View], View]:
        """Describe what no argument shows: headers that are read, a body that is taken as it is, and the error statuses
        that do not follow from the operation's form (those are added by openapi_rules).
        """
        responses = {status: _problem_response(HTTPStatus(status).phrase) for status in problems}
        # Under a name of our own: as "parameters" they would replace those of the query.
        parameters = {FURTHER_PARAMETERS: list(headers)} if headers else {}
        request_body = {"requestBody": _json_body(body)} if body else {}
        return cast(Callable[[View], View], Blueprint.doc(responses=responses, **parameters, **request_body))


def _with_strict_query(view: Callable[..., Any]) -> Callable[..., Any]:
    """Refuses what a schema for the query would not see: names where there is no schema, and names sent twice."""
    known = _query_parameters(view)

    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        twice = {name: ["Sent more than once."] for name, values in request.args.lists() if len(values) > 1}
        unknown = {} if known is None else {name: ["Unknown field."] for name in request.args if name not in known}
        if wrong := unknown | twice:
            raise InvalidQuery("A query parameter is not valid", {"errors": wrong})
        return view(*args, **kwargs)

    return checked


def _query_parameters(view: Callable[..., Any]) -> frozenset[str] | None:
    """The names in the view's own description; None if it has a schema, which refuses what it does not know."""
    said = getattr(view, "_apidoc", {})
    if any(argument["in"] == "query" for argument in said.get("arguments", {}).get("parameters", ())):
        return None
    parameters = said.get("manual_doc", {}).get(FURTHER_PARAMETERS, ())
    return frozenset(parameter["name"] for parameter in parameters if parameter["in"] == "query")


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _json_body(schema: type[ma.Schema]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _problem_response(description: str) -> dict[str, Any]:
    return {"description": description, "content": {CONTENT_TYPE: {"schema": Problem}}}


class _Converter(OpenAPIConverter):
    """Takes what JSON Schema can say and marshmallow cannot from a schema's ``Meta.json_schema``."""

    def schema2jsonschema(self, schema: Any) -> dict[str, Any]:
        found = cast(dict[str, Any], super().schema2jsonschema(schema))  # type: ignore[no-untyped-call]
        return found | getattr(schema.Meta, "json_schema", {})


class _Plugin(MarshmallowPlugin):
    Converter = _Converter


class ProblemApi(Api):  # type: ignore[misc]  # flask-smorest has no types
    """Collects the endpoints' descriptions, with problem documents as errors, and registers their handlers."""

    def _register_error_handlers(self) -> None:
        install_error_handlers(self._app)

    def _register_responses(self) -> None:
        """None: openapi_rules replaces what flask-smorest and webargs would add to every endpoint."""
        for name in (self.DEFAULT_ERROR_RESPONSE_NAME, HTTPStatus.UNPROCESSABLE_ENTITY.name):
            self.spec.components.response(name, _problem_response(name), lazy=True)

    def document(self) -> bytes:
        """The complete OpenAPI document of everything that is registered by now."""
        return orjson.dumps(complete(self.spec.to_dict()))


def create_api(app: Flask) -> ProblemApi:
    app.config.update(API_TITLE="OrderSaga", API_VERSION="v1", OPENAPI_VERSION="3.1.0")
    api = ProblemApi(app, spec_kwargs={"marshmallow_plugin": _Plugin()})
    app.register_blueprint(docs_page.create_blueprint(api.document))
    return api
