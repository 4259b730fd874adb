"""The fault campaign's proxy: each kind of damage does what it says, and heals.

Given an echo server behind a link, and a client that is connected through it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from faults.proxy import Damage, Link, Proxies
from harness.waiting import wait_until

pytestmark = pytest.mark.integration
PATIENCE_S = 5.0
IMPATIENCE_S = 0.3


class EchoServer:
    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.lost = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(client,), daemon=True).start()

    def _echo(self, client: socket.socket) -> None:
        with closing(client):
            try:
                while data := client.recv(1024):
                    client.sendall(data)
            except ConnectionError:
                self.lost.set()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server() -> Iterator[EchoServer]:
    with closing(EchoServer()) as server:
        yield server


@pytest.fixture
def link(server: EchoServer) -> Iterator[Link]:
    with Proxies({"echo": server.port}) as proxies:
        yield proxies.links["echo"]


@pytest.fixture
def client(link: Link) -> Iterator[socket.socket]:
    with closing(connect(link)) as client:
        yield client


def connect(link: Link) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", link.port), timeout=PATIENCE_S)
    assert said_back(client, b"hello") == b"hello"
    return client


def said_back(client: socket.socket, words: bytes) -> bytes:
    client.sendall(words)
    return client.recv(1024)


def is_silent(client: socket.socket) -> bool:
    client.settimeout(IMPATIENCE_S)
    try:
        client.recv(1024)
    except TimeoutError:
        return True
    finally:
        client.settimeout(PATIENCE_S)
    return False


def test_reset_cuts_every_connection_and_lets_new_ones_through(link: Link, client: socket.socket) -> None:
    with link.damaged(Damage.RESET):
        with pytest.raises(ConnectionResetError):
            client.recv(1024)
        connect(link).close()
    wait_until(lambda: link.open_connections == 0, "connections are forgotten")


def test_stall_holds_everything_back_and_hands_it_on_later(link: Link, client: socket.socket) -> None:
    with link.damaged(Damage.STALL):
        client.sendall(b"held back")
        assert is_silent(client)
        late = socket.create_connection(("127.0.0.1", link.port), timeout=PATIENCE_S)
        late.sendall(b"early")
        assert is_silent(late)
    assert client.recv(1024) == b"held back"
    assert late.recv(1024) == b"early"
    late.close()


def test_half_open_tells_the_server_only(link: Link, client: socket.socket, server: EchoServer) -> None:
    with link.damaged(Damage.HALF_OPEN):
        assert server.lost.wait(PATIENCE_S)
        client.sendall(b"into the void")
        assert is_silent(client)
    with pytest.raises(ConnectionResetError):
        client.recv(1024)
    connect(link).close()


def test_delay_loses_nothing_and_keeps_the_order(link: Link, client: socket.socket) -> None:
    with link.damaged(Damage.DELAY):
        for number in range(5):
            assert said_back(client, b"%d" % number) == b"%d" % number


def test_refuse_lets_nobody_in_until_it_is_healed(link: Link, client: socket.socket) -> None:
    with link.damaged(Damage.REFUSE):
        with pytest.raises(ConnectionResetError):
            client.recv(1024)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", link.port), timeout=PATIENCE_S)
    connect(link).close()


def test_a_server_that_is_gone_looks_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Proxies({"nobody": port}) as proxies, socket.socket() as client:
        client.settimeout(PATIENCE_S)
        with pytest.raises(ConnectionResetError):
            hear(client, proxies.links["nobody"].port)


def hear(client: socket.socket, port: int) -> bytes:
    client.connect(("127.0.0.1", port))
    return client.recv(1024)
