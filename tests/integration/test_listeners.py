"""Sockets that the supervisor keeps open while what is behind them is replaced."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from harness.ports import free_port

from ops.folder import StackFolder
from ops.listeners import Listeners
from ops.processes import ProcessSpec, is_alive
from ops.supervision import Supervision
from ops.waiting import Waiter, holds_within

pytestmark = pytest.mark.integration

# Says its pid to whoever connects; starts slowly.
_SERVER = """
import os, socket, time
time.sleep(0.5)
listener = socket.socket(fileno=int(os.environ["GATEWAY_SOCKET_FD"]))
while True:
    client, _ = listener.accept()
    client.sendall(str(os.getpid()).encode())
    client.close()
"""


def _free_address() -> str:
    return f"127.0.0.1:{free_port()}"


def _ask(address: str) -> int:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        return int(client.makefile().read())


def test_nobody_is_refused_while_the_process_is_replaced(tmp_path: Path) -> None:
    folder = StackFolder(root=tmp_path)
    folder.create()
    supervision = Supervision(folder)
    address = _free_address()
    spec = ProcessSpec(name="server", command=(sys.executable, "-c", _SERVER), stage=1, listens_on=address)
    try:
        supervision.want([spec], Waiter())
        first = _ask(address)
        supervision.restart("server", Waiter())
        second = _ask(address)
        killed = supervision.kill("server")
        assert holds_within(lambda: not is_alive(killed), timeout_s=10)
        third = _ask(address)
        # Another specification of the same process: it is replaced too, and the socket stays.
        supervision.want([ProcessSpec(**{**spec.as_dict(), "environment": {"A": "b"}})], Waiter())
        fourth = _ask(address)
        assert len({first, second, third, fourth}) == 4

        supervision.want([], Waiter())
        with pytest.raises(ConnectionRefusedError):
            _ask(address)
    finally:
        supervision.stop()


def test_an_address_that_is_taken_is_left_to_the_process() -> None:
    listeners = Listeners()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        listeners.keep({address, ""})
        assert listeners.find(address) is None
    listeners.keep({address})
    assert listeners.find(address) is not None
    listeners.keep(set())
    assert listeners.find(address) is None
