"""flask-smorest as this gateway uses it: strict parsing, problem documents as errors, typed decorators.

Owns: everything about flask-smorest that endpoints should not have to know. Must not know: endpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar, cast

import marshmallow as ma
from flask import Flask, Request
from flask_smorest import Api, Blueprint  # type: ignore[import-untyped]
from webargs.flaskparser import FlaskParser

from gateway import access
from gateway.documents import Problem
from gateway.errors import install_error_handlers
from gateway.json_body import read_json
from gateway.problems import CONTENT_TYPE
from shared.errors import InvalidRequest
from shared.identity import Role

View = TypeVar("View", bound=Callable[..., Any])
_ERROR_COMPONENT = "Problem"


class StrictParser(FlaskParser):
    """Reads arguments so that everything unexpected is an error with its place, raised as our own classes."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"json": ma.RAISE, "query": ma.RAISE}  # noqa: RUF012 -- as webargs declares it

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        return read_json(req)

    def handle_error(self, error: ma.ValidationError, req: Request, schema: ma.Schema, **_: Any) -> NoReturn:
        # webargs files the messages under the location they came from
        messages = cast(dict[str, Any], error.messages)
        place, found = next(iter(messages.items()))
        what = "A query parameter" if place == "query" else "A field of the body"
        raise InvalidRequest(f"{what} is not valid", {"errors": found}) from error


class ApiBlueprint(Blueprint):  # type: ignore[misc]  # flask-smorest has no types
    """A flask-smorest blueprint whose decorators keep the types of what they decorate."""

    ARGUMENTS_PARSER = StrictParser()

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        return cast(Callable[[View], View], super().route(rule, **options))

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
            responses = {status: _problem_response(HTTPStatus(status).phrase) for status in (401, 403)}
            said = {"security": [{"bearer": []}], "x-roles": sorted(roles), "responses": responses}
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
        """Describe what no argument shows: error statuses, headers that are read, a body that is taken as it is."""
        responses = {status: _problem_response(HTTPStatus(status).phrase) for status in problems}
        parameters = {"parameters": list(headers)} if headers else {}
        request_body = {"requestBody": _json_body(body)} if body else {}
        return cast(Callable[[View], View], Blueprint.doc(responses=responses, **parameters, **request_body))


def _json_body(schema: type[ma.Schema]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _problem_response(description: str) -> dict[str, Any]:
    return {"description": description, "content": {CONTENT_TYPE: {"schema": Problem}}}


class ProblemApi(Api):  # type: ignore[misc]  # flask-smorest has no types
    """Serves /openapi.json, with problem documents as the default error, and registers their handlers."""

    DEFAULT_ERROR_RESPONSE_NAME = _ERROR_COMPONENT

    @access.public
    def _openapi_json(self) -> Any:
        return super()._openapi_json()

    def _register_error_handlers(self) -> None:
        install_error_handlers(self._app)

    def _register_responses(self) -> None:
        self.spec.components.response(_ERROR_COMPONENT, _problem_response("A problem"))
        # webargs documents its own 422 under this name on every endpoint that takes arguments
        self.spec.components.response(HTTPStatus.UNPROCESSABLE_ENTITY.name, _problem_response("Not valid"), lazy=True)


def create_api(app: Flask) -> ProblemApi:
    app.config.update(
        API_TITLE="OrderSaga",
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
    )
    api = ProblemApi(app)
    api.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    return api
