"""The operators' way to a gateway: its own words when something is refused, and elsewhere by address and token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ops.errors import StackError
from ops.gateway_client import Answer, GatewayClient
from ops.operator_client import GATEWAY_VARIABLE, TOKEN_VARIABLE, OperatorClient, operator_client
from ops.stack import Stack


class _Gateway(GatewayClient):
    def __init__(self, answer: Answer | OSError) -> None:
        super().__init__("http://nowhere", lambda *_: {})
        self.answer = answer
        self.sent: list[tuple[str, str, Any, Mapping[str, str]]] = []

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        self.sent.append((method, path, body and json.loads(body), headers or {}))
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


def _answer(status: int, body: Any) -> Answer:
    return Answer(status=status, body=body, headers={})


def test_parameters_that_are_none_are_left_out() -> None:
    gateway = _Gateway(_answer(200, {"sagas": []}))
    assert OperatorClient(gateway).get("/admin/sagas", limit=5, state=None, text="a b") == {"sagas": []}
    assert gateway.sent[0][:2] == ("GET", "/admin/sagas?limit=5&text=a+b")


def test_a_post_has_a_key_of_its_own_or_the_one_given() -> None:
    gateway = _Gateway(_answer(200, {}))
    client = OperatorClient(gateway)
    for key in (None, None, "again"):
        client.post("/admin/x", {"a": 1}, key=key)
    keys = [headers["Idempotency-Key"] for *_, headers in gateway.sent]
    assert keys[2] == "again"
    assert len(set(keys)) == 3
    assert gateway.sent[0][2] == {"a": 1}


def test_a_refusal_is_said_with_the_fields_at_fault() -> None:
    problem = {"code": "invalid_request", "detail": "no", "errors": {"count": ["too many"]}}
    with pytest.raises(StackError, match=r'422 invalid_request: no \{"count": \["too many"\]\}'):
        OperatorClient(_Gateway(_answer(422, problem))).patch("/admin/x", {})


def test_a_gateway_out_of_reach_is_said() -> None:
    with pytest.raises(StackError, match="does not answer: refused"):
        OperatorClient(_Gateway(OSError("refused"))).delete("/admin/x")


def test_elsewhere_needs_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(GATEWAY_VARIABLE, "http://shop.example")
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(StackError, match=TOKEN_VARIABLE):
        operator_client(Stack(tmp_path))
