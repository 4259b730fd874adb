"""TCP proxies on loopback that can be damaged while traffic passes.

Owns: sockets, and what a damaged link does to them. Must not know: what is spoken over them, or why they are damaged.

A proxy answers for the other side's kernel: what it holds back was acknowledged all the same. So a stalled link here is
what a hung peer is, and only a network namespace (netns.py) shows lost packets.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any

_CHUNK_BYTES = 64 * 1024
_DELAYS_S = (0.02, 0.25)
_ANSWER_WITHIN_S = 15.0
_LINGER_NOT = struct.pack("ii", 1, 0)  # closing sends a reset instead of the rest


Listen = Callable[[int], socket.socket]
"""Makes a socket that listens on this port, or on any if it is 0."""


def on_loopback(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=128)


class Damage(Enum):
    RESET = "reset"
    """Every connection is reset, once; new ones are good."""
    STALL = "stall"
    """Nothing passes in either direction, for new connections too; it arrives once the link is healed."""
    HALF_OPEN = "half-open"
    """The server sees its clients gone; they hear nothing, until a reset when the link is healed."""
    DELAY = "delay"
    """Everything is late, by a different time for each piece."""
    REFUSE = "refuse"
    """Connections are reset, and nobody listens any more."""


class Link:
    """From a port of its own to one server. Its methods are for other threads, but for those with an underscore."""

    def __init__(self, name: str, target_port: int, loop: asyncio.AbstractEventLoop, listen: Listen) -> None:
        self.name = name
        self._listen_on = listen
        self._target_port = target_port
        self._loop = loop
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._delays = False
        self.host, self.port = "", 0

    @contextmanager
    def damaged(self, damage: Damage) -> Iterator[None]:
        """Healed at the end of the block."""
        self._wait(self._damage(damage))
        try:
            yield
        finally:
            self._wait(self._heal())

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    def open(self) -> None:
        self._wait(self._listen())

    def close(self) -> None:
        self._wait(self._shut())

    def _wait(self, step: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(_ANSWER_WITHIN_S)

    async def _listen(self) -> None:
        if self._server is None:
            listener = self._listen_on(self.port)
            self.host, self.port = listener.getsockname()
            self._server = await asyncio.start_server(self._accept, sock=listener)

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._reset_all()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer, self._pass)
        self._connections.add(connection)
        try:
            await self._passing.wait()
            await connection.run(self._target_port)
        finally:
            connection.reset()
            self._connections.discard(connection)

    async def _pass(self) -> None:
        """Returns when the next piece may go on."""
        await self._passing.wait()
        if self._delays:
            await asyncio.sleep(random.uniform(*_DELAYS_S))  # noqa: S311 - when, not whether: no run depends on it

    async def _damage(self, damage: Damage) -> None:
        match damage:
            case Damage.RESET:
                self._reset_all()
            case Damage.STALL:
                self._passing.clear()
            case Damage.HALF_OPEN:
                self._passing.clear()
                for connection in self._connections:
                    connection.lose_server()
            case Damage.DELAY:
                self._delays = True
            case Damage.REFUSE:
                await self._shut()

    async def _heal(self) -> None:
        for connection in list(self._connections):
            if connection.has_lost_server:
                connection.reset()
        self._delays = False
        self._passing.set()
        await self._listen()

    def _reset_all(self) -> None:
        for connection in list(self._connections):
            connection.reset()


class _Connection:
    """A client, the connection to the server made for it, and what is carried between the two."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        may_pass: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._reader, self._writer = reader, writer
        self._may_pass = may_pass
        self._server: asyncio.StreamWriter | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.has_lost_server = False

    async def run(self, port: int) -> None:
        """Until one side has closed and all it sent has been handed on, or somebody resets it."""
        try:
            reader, self._server = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        self._tasks = [
            asyncio.ensure_future(self._carry(self._reader, self._server)),
            asyncio.ensure_future(self._carry(reader, self._writer)),
        ]
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        while self.has_lost_server and not self._writer.transport.is_closing():
            await asyncio.sleep(0.05)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK_BYTES):
                await self._may_pass()
                sink.write(data)
                await sink.drain()

    def lose_server(self) -> None:
        self.has_lost_server = True
        if self._server is not None:
            _reset(self._server)

    def reset(self) -> None:
        for task in self._tasks:
            task.cancel()
        for writer in (self._server, self._writer):
            if writer is not None:
                _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()


class Proxies:
    """A link for each of the ``targets`` (name → port), in a thread of their own. Use as a context manager.

    ``listen``: where a link's clients find it, by its name.
    """

    def __init__(self, targets: Mapping[str, int], listen: Mapping[str, Listen] | None = None) -> None:
        places = listen or {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self.links = {
            name: Link(name, port, self._loop, places.get(name, on_loopback)) for name, port in targets.items()
        }

    def __enter__(self) -> Proxies:
        self._thread.start()
        for link in self.links.values():
            link.open()
        return self

    def __exit__(self, *_error: object) -> None:
        for link in self.links.values():
            link.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
