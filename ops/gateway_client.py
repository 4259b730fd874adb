"""Owns: talking to the gateway's HTTP API as any client would. Must not know: services, broker, databases."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

_TIMEOUT_S = 15


class Refused(Exception):
    """The gateway answered with a problem document."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail') or problem.get('title')}")

    @property
    def code(self) -> str:
        return str(self.problem.get("code"))


class GatewayClient:
    """Raises Refused for problem documents and OSError when the gateway cannot be reached."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/api/v1"

    def get(self, path: str) -> Any:
        return self._send("GET", path, None, {})

    def post(self, path: str, body: Mapping[str, Any], *, key: str | None = None) -> Any:
        """A write with its Idempotency-Key, so that repeating the call with the same ``key`` is safe."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key or str(uuid.uuid4())}
        return self._send("POST", path, json.dumps(body).encode(), headers)

    def can_order(self, items: Sequence[str]) -> bool:
        """Whether the order service knows the price of each; a new product takes a moment to get there.

        Asks with a wrong price, so that nothing is placed: it is refused as such only when every item is known.
        """
        lines = [{"item": item, "quantity": 1} for item in items]
        try:
            self.post("/orders", {"userId": "probe", "items": lines, "price": "0.01"})
        except Refused as refused:
            return refused.code == "price_mismatch"
        return True

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Any:
        url = self._url + path
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"not an HTTP address: {url}")
        request = urllib.request.Request(url, data=body, headers=dict(headers), method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise Refused(error.code, _problem(error.read())) from error


def _problem(body: bytes) -> Mapping[str, Any]:
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
