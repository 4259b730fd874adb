"""Owns: how the operators' commands reach a gateway: the stack's own, or any other by address and token.

Must not know: any command, or what an answer holds.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import click
from rich.console import Console
from rich.table import Table

from ops import tokens
from ops.errors import StackError
from ops.gateway_client import Answer, GatewayClient
from ops.people import OPERATOR, TOKEN_TTL_S
from ops.stack import Stack

GATEWAY_VARIABLE, TOKEN_VARIABLE = "ORDERSAGA_GATEWAY", "ORDERSAGA_TOKEN"
_LEAST_WIDTH = 130

json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
note_option = click.option("--note", required=True, help="Why; it stays in the audit log.")


class Refused(StackError):
    """The gateway answered with a problem document; ``status`` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class OperatorClient:
    """The gateway's API for an operator. Raises StackError for whatever is not an answer, in words and with a hint."""

    def __init__(self, client: GatewayClient) -> None:
        self._client = client

    def get(self, path: str, **query: object) -> Any:
        """``query``: parameters that are None are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._send("GET", f"{path}?{urlencode(given)}" if given else path)

    def post(self, path: str, body: Mapping[str, Any], *, key: str | None = None) -> Any:
        """Safe to repeat with the same ``key``."""
        return self._send("POST", path, body, {"Idempotency-Key": key or str(uuid.uuid4())})

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._send("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self._send("DELETE", path)

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        content = None if body is None else json.dumps(body).encode()
        try:
            answer = self._client.send(method, path, content, headers)
        except OSError as error:
            raise StackError(f"the gateway does not answer: {error}", hint="`ordersaga status` shows why") from error
        if answer.status >= 400:
            raise Refused(_refusal(answer), answer.status)
        return answer.body


def _refusal(answer: Answer) -> str:
    said = f"refused: {answer.words}: {answer.body.get('detail') or answer.body.get('title')}"
    errors = answer.body.get("errors")
    return f"{said} {json.dumps(errors)}" if errors else said


def operator_client(stack: Stack) -> OperatorClient:
    """With ORDERSAGA_GATEWAY and ORDERSAGA_TOKEN set, that gateway; else the one of ``stack``. Raises StackError."""
    elsewhere = os.environ.get(GATEWAY_VARIABLE)
    if elsewhere:
        token = os.environ.get(TOKEN_VARIABLE)
        if not token:
            raise StackError(f"{GATEWAY_VARIABLE} is set, {TOKEN_VARIABLE} is not", hint="POST /auth/token gives one")
        return OperatorClient(GatewayClient(elsewhere, _bearer(token)))
    environment = stack.environment()
    token = tokens.mint(environment, OPERATOR.subject, OPERATOR.roles, ttl_s=TOKEN_TTL_S)
    return OperatorClient(GatewayClient(environment["GATEWAY_URL"], _bearer(token)))


def _bearer(token: str) -> Callable[[str, str, bytes | None], Mapping[str, str]]:
    return lambda _method, _path, _body: {"Authorization": f"Bearer {token}"}


def show_answer(document: Any, as_json: bool, table: Callable[[], Table]) -> None:
    """On stdout: the document for scripts, its table for people."""
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    screen = Console(highlight=False)
    # Ids are there to be copied: a narrow screen breaks the line, not the id.
    screen.width = max(screen.width, _LEAST_WIDTH)
    screen.print(table())
