"""One HTTP request, on a connection of its own, from a loop that has many under way.

Owns: sockets, and answers as they are. Must not know: what is asked, or when to ask again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 12.0


class NoAnswer(Exception):
    """Whether anything was done is unknown."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    body: Mapping[str, Any]
    is_replayed: bool

    @property
    def code(self) -> str:
        return str(self.body.get("code", ""))


@dataclass(frozen=True, kw_only=True)
class Request:
    """A POST below /api/v1; ``hangs_up_after_s``: the client is gone before it could read the answer."""

    path: str
    body: Mapping[str, Any]
    token: str
    key: str
    hangs_up_after_s: float | None = None

    def encoded(self, host: str) -> bytes:
        body = json.dumps(self.body).encode()
        head = (
            f"POST /api/v1{self.path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self.token}\r\nIdempotency-Key: {self.key}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body


async def send(gateway_url: str, request: Request) -> Reply:
    """The answer; NoAnswer when there is none in time, or none at all."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _converse(gateway_url, request)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from error


async def _converse(gateway_url: str, request: Request) -> Reply:
    parts = urlsplit(gateway_url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(request.encoded(parts.netloc))
        await writer.drain()
        if request.hangs_up_after_s is not None:
            await asyncio.sleep(request.hangs_up_after_s)
            raise NoAnswer("this client hung up itself")
        return _parsed(await reader.read())
    finally:
        # At once, with what was not read: a close that waits would wait for a frozen gateway.
        writer.transport.abort()


def _parsed(answer: bytes) -> Reply:
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank:
        raise EOFError("the connection ended before the answer")
    lines = head.decode("latin-1").lower().split("\r\n")
    document = json.loads(body)
    return Reply(
        status=int(lines[0].split(" ")[1]),
        body=document if isinstance(document, dict) else {},
        is_replayed="idempotent-replayed: true" in lines,
    )
