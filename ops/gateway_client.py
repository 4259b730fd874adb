"""Owns: talking to the gateway's HTTP API as any client would. Must not know: services, broker, databases."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TIMEOUT_S = 15
_JSON = {"Content-Type": "application/json"}
Authorise = Callable[[str, str, bytes | None], Mapping[str, str]]
"""From method, path and body to the headers that say who sends it."""


class Refused(Exception):
    """The gateway answered with a problem document."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail') or problem.get('title')}")

    @property
    def code(self) -> str:
        return str(self.problem.get("code"))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back, a problem document included."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def words(self) -> str:
        """ "202", or "409 order_not_cancellable"."""
        return str(self.status) if self.status < 400 else f"{self.status} {self.body.get('code')}"

    @property
    def is_replayed(self) -> bool:
        return self.headers.get("Idempotent-Replayed") == "true"


class GatewayClient:
    """Raises Refused for problem documents and OSError when the gateway cannot be reached."""

    def __init__(self, url: str, authorise: Authorise) -> None:
        self._url = url.rstrip("/") + "/api/v1"
        self._authorise = authorise

    def get(self, path: str) -> Any:
        return _accepted(self.send("GET", path))

    def post(self, path: str, body: Mapping[str, Any], *, key: str | None = None) -> Any:
        """A write with its Idempotency-Key, so that repeating the call with the same ``key`` is safe."""
        return _accepted(self.ask(path, body, key=key))

    def ask(self, path: str, body: Mapping[str, Any], *, key: str | None = None) -> Answer:
        """The same, for whoever wants to see the answer whatever it is."""
        return self.send("POST", path, json.dumps(body).encode(), {"Idempotency-Key": key or str(uuid.uuid4())})

    def can_order(self, items: Sequence[str]) -> bool:
        """Whether the order service knows the price of each; a new product takes a moment to get there.

        Asks with a wrong price, so that nothing is placed: it is refused as such only when every item is known.
        """
        lines = [{"item": item, "quantity": 1} for item in items]
        try:
            self.post("/orders", {"items": lines, "price": "0.01"})
        except Refused as refused:
            return refused.code == "price_mismatch"
        return True

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Any request, with its body as it is; problem documents are answers too."""
        url = self._url + path
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"not an HTTP address: {url}")
        typed = _JSON if body is not None else {}
        sent = {**typed, **self._authorise(method, path, body), **(headers or {})}
        request = urllib.request.Request(url, data=body, headers=sent, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
                return Answer(status=response.status, body=json.load(response), headers=dict(response.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(status=error.code, body=_problem(error.read()), headers=dict(error.headers))


def _accepted(answer: Answer) -> Any:
    if answer.status >= 400:
        raise Refused(answer.status, answer.body)
    return answer.body


def _problem(body: bytes) -> Mapping[str, Any]:
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
