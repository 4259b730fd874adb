"""The services as the gateway's unit tests see them: answers from a table, questions remembered."""

from __future__ import annotations

from typing import Any

from shared.identity import Identity


class FakeServices:
    """Answers from a table, or raises what the table holds; remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.callers: list[Identity | None] = []

    def call(
        self, service: str, method: str, timeout_s: float | None = None, caller: Identity | None = None, **kwargs: Any
    ) -> Any:
        self.callers.append(caller)
        self.calls.append((service, method, kwargs))
        answer = self.answers[f"{service}.{method}"]
        if isinstance(answer, Exception):
            raise answer
        return answer
