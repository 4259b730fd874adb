"""HTTP requests at full speed from one process: many connections, each with one request under way.

Owns: connections, counting and timing answers. Must not know: what the requests mean.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(kw_only=True)
class Load:
    """What came of a run. ``latencies_ms``: from writing a request to its whole answer, in no order."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    started_s: float = 0.0
    ended_s: float = 0.0

    @property
    def per_s(self) -> float:
        return len(self.latencies_ms) / (self.ended_s - self.started_s)


def run(url: str, next_request: Callable[[], bytes], *, connections: int, seconds: float) -> Load:
    """Send what ``next_request`` gives, whole HTTP/1.1 requests, until the time is over; answers are waited for.

    Closed loop: a slow answer delays the next request of its connection, so latencies are those of a service at its
    limit. Raises OSError when the server cannot be reached.
    """
    return asyncio.run(_run(url, next_request, connections, seconds))


async def _run(url: str, next_request: Callable[[], bytes], connections: int, seconds: float) -> Load:
    parts = urlsplit(url)
    load = Load(started_s=time.perf_counter())
    end_s = load.started_s + seconds
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    await asyncio.gather(*(_converse(host, port, next_request, end_s, load) for _ in range(connections)))
    load.ended_s = time.perf_counter()
    return load


async def _converse(host: str, port: int, next_request: Callable[[], bytes], end_s: float, load: Load) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        while (sent_s := time.perf_counter()) < end_s:
            writer.write(next_request())
            status = await _answer(reader)
            load.latencies_ms.append((time.perf_counter() - sent_s) * 1000)
            load.statuses[status] += 1
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])
