"""Logging in over HTTP, and the keys that others may check our tokens with.

Owns: the endpoints /auth/token and /.well-known/jwks.json. Must not know: how a password or a token is checked.
"""

from __future__ import annotations

from typing import Any, cast

import marshmallow as ma
from flask import Flask, Response, current_app
from marshmallow import fields

from gateway.auth.accounts import LONGEST_LOGIN
from gateway.auth.login import Login
from gateway.documents import Document
from gateway.fields import Text
from gateway.openapi import ApiBlueprint, ProblemApi
from gateway.responses import json_response

_EXTENSION = "ordersaga.login"
_LONGEST_PASSWORD = 256
_JWKS_KEPT_FOR_S = 300

blueprint = ApiBlueprint("auth", __name__, url_prefix="/api/v1/auth", description="Logging in")
keys_blueprint = ApiBlueprint("keys", __name__, url_prefix="/.well-known", description="Keys of our tokens")


class Credentials(ma.Schema):
    username = Text(max_length=LONGEST_LOGIN, required=True)
    password = Text(max_length=_LONGEST_PASSWORD, required=True)


class AccessToken(Document):
    accessToken = fields.String(required=True, metadata={"description": "Send it as Authorization: Bearer …"})  # noqa: N815
    tokenType = fields.String(required=True, metadata={"enum": ["Bearer"]})  # noqa: N815
    expiresIn = fields.Integer(required=True, metadata={"description": "Seconds from now"})  # noqa: N815
    roles = fields.List(fields.String(metadata={"enum": ["USER", "SELLER", "ADMIN"]}), required=True)


class PublicKey(Document):
    kty = fields.String(required=True)
    kid = fields.String(required=True)
    alg = fields.String(required=True)


class KeySet(Document):
    """RFC 7517."""

    keys = fields.List(fields.Nested(PublicKey), required=True)


def register_login(app: Flask, api: ProblemApi, login: Login) -> None:
    """Where another issuer logs people in, these endpoints do not exist."""
    app.extensions[_EXTENSION] = login
    api.register_blueprint(blueprint)
    api.register_blueprint(keys_blueprint)


def _login() -> Login:
    return cast(Login, current_app.extensions[_EXTENSION])


@blueprint.route("/token", methods=["POST"])
@blueprint.public
@blueprint.response(200, AccessToken)
@blueprint.documented(problems=(401, 429, 503))
@blueprint.arguments(Credentials)
def issue_token(credentials: dict[str, Any]) -> Response:
    """Log in: a token for a while

    Needs no Idempotency-Key: each token is good by itself. Nobody can take a token back before it expires.
    """
    granted = _login().grant(credentials["username"], credentials["password"])
    body = {
        "accessToken": granted.token,
        "tokenType": "Bearer",
        "expiresIn": granted.ttl_s,
        "roles": granted.roles,
    }
    return json_response(body, headers={"Cache-Control": "no-store"})


@keys_blueprint.route("/jwks.json", methods=["GET"])
@keys_blueprint.public
@keys_blueprint.response(200, KeySet)
def show_keys() -> Response:
    """The public keys that tokens are signed with, retired ones too (RFC 7517)"""
    return json_response(_login().keys.jwks, headers={"Cache-Control": f"public, max-age={_JWKS_KEPT_FOR_S}"})
