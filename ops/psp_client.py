"""Owns: talking to the payment simulator's process over HTTP. Must not know: screens, its database."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from ops.errors import StackError

_TIMEOUT_S = 10


class PspClient:
    """Raises StackError with the simulator's own words when it refuses, and a hint when it cannot be reached."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)

    def cards(self) -> dict[str, Any]:
        return self._send("GET", "/cards")

    def behaviour(self) -> dict[str, Any]:
        return self._send("GET", "/behaviour")

    def change_behaviour(self, changes: Mapping[str, float]) -> dict[str, Any]:
        return self._send("PATCH", "/behaviour", changes)

    def reset_behaviour(self) -> dict[str, Any]:
        return self._send("DELETE", "/behaviour")

    def book(self, last: int) -> dict[str, Any]:
        return self._send("GET", f"/book?last={last}")

    def tokenise(self, card: Mapping[str, Any]) -> dict[str, Any]:
        return self._send("POST", "/tokens", card)

    def _send(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
        body = None if document is None else json.dumps(document)
        headers = {"Content-Type": "application/json"}
        connection = http.client.HTTPConnection(
            self._address.hostname or "", self._address.port or 80, timeout=_TIMEOUT_S
        )
        try:
            with closing(connection):
                connection.request(method, path, body=body, headers=headers)
                response = connection.getresponse()
                answer = dict(json.load(response))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise StackError(
                f"the payment simulator does not answer: {error}",
                hint="see `ordersaga status` and `ordersaga logs psp`",
            ) from error
        if response.status >= 300:
            raise StackError(_refusal(answer))
        return answer


def _refusal(problem: Mapping[str, Any]) -> str:
    errors = problem.get("errors") or {}
    words = "; ".join(f"{name}: {', '.join(messages)}" for name, messages in errors.items())
    return f"{problem.get('title', 'refused')}{': ' if words else ''}{words}"
