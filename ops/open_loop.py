"""HTTP requests at a given pace, whatever the server does: one is sent when its time has come, answered or not.

Owns: pacing, connections, sending, and the moments that count. Must not know: what the requests mean.

Open loop: a latency counts from the moment a request was due, so that a server that stalls is charged for everybody who
would have come meanwhile (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(kw_only=True, slots=True)
class Sent:
    """One request. Moments are those of ``time.perf_counter``; ``status`` is 0 when the server broke off."""

    request: bytes
    due_s: float
    sent_s: float = 0.0
    answered_s: float = 0.0
    status: int = 0
    body: bytes = b""


def post(path: str, *, token: str, key: str, body: bytes) -> bytes:
    """A whole POST to the gateway's API, ready to be sent."""
    head = (
        f"POST /api/v1{path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nIdempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class OpenLoop:
    """Requests to one server over as many connections as it takes; a connection is used again once it is free."""

    def __init__(self, url: str, answered: Callable[[Sent], None] = lambda _sent: None) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._answered = answered
        self._free: deque[Connection] = deque()

    async def run(self, requests: Sequence[bytes], *, per_s: float | None = None) -> list[Sent]:
        """Send whole HTTP/1.1 requests, at that pace or all at once; what came of them, once all are answered."""
        started_s = time.perf_counter()
        all_sent = []
        async with asyncio.TaskGroup() as tasks:
            for number, request in enumerate(requests):
                sent = Sent(request=request, due_s=started_s + (number / per_s if per_s else 0.0))
                all_sent.append(sent)
                if per_s:
                    await asyncio.sleep(sent.due_s - time.perf_counter())
                tasks.create_task(self._send(sent))
        for _, writer in self._free:
            writer.close()
        return all_sent

    async def _send(self, sent: Sent) -> None:
        """On a free connection; the server may end one that was free for long, and then a new one is taken."""
        while (connection := self._free_connection()) is not None:
            if await self._ask(sent, connection):
                return
        try:
            await self._ask(sent, await asyncio.open_connection(*self._address))
        except OSError:
            return

    def _free_connection(self) -> Connection | None:
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    async def _ask(self, sent: Sent, connection: Connection) -> bool:
        """Whether there was an answer."""
        reader, writer = connection
        sent.sent_s = time.perf_counter()
        try:
            writer.write(sent.request)
            sent.status, sent.body = await _answer(reader)
        except (OSError, EOFError):
            writer.close()
            return False
        sent.answered_s = time.perf_counter()
        self._free.append(connection)
        self._answered(sent)
        return True


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)
