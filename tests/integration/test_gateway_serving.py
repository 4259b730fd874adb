"""A real gateway process and raw sockets: slow, silent, greedy and broken clients, live streams, and its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness.gateway_process import address_of, start_gateway
from harness.login import bearer
from harness.rpc_service import RpcService
from harness.waiting import wait_until

from gateway.serving.worker import MOST_WAITING, REQUEST_S, SENDING_S

pytestmark = pytest.mark.integration

NO_BROKER = "amqp://127.0.0.1:1/"
# More than a gateway has threads, in all its workers together.
CROWD = 130
DEADLINE_S = 30.0
SOON_S = 10.0
ORDER_ID = "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e"
ALIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
BEGINNING = (
    b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Idempotency-Key: k\r\nContent-Length: 100\r\n\r\n{"
)


class Clients:
    """Raw connections to one gateway."""

    def __init__(self, process: subprocess.Popen[str], closing: contextlib.ExitStack) -> None:
        self.process = process
        self.address = address_of(process)
        self._closing = closing

    def connect(self, begun: bytes = b"", *, buffer_bytes: int | None = None) -> socket.socket:
        client = self._closing.enter_context(socket.socket())
        if buffer_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        client.settimeout(DEADLINE_S)
        client.connect(self.address)
        if begun:
            client.sendall(begun)
        return client

    def get(self, path: str, timeout_s: float = DEADLINE_S) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*self.address, timeout=timeout_s)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=bearer())
            response = connection.getresponse()
            return response.status, response.read()

    def is_served(self) -> bool:
        """Whether somebody who behaves gets an answer soon."""
        return self.get("/health/live", SOON_S)[0] == 200

    def answer_to(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        return parsed(read_all(self.connect(request)))

    def figure(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (.*)$", self.get("/metrics")[1].decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


def read_all(client: socket.socket) -> bytes:
    pieces = []
    while piece := client.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)


def read_until(client: socket.socket, wanted: bytes) -> bytes:
    read = b""
    while wanted not in read:
        piece = client.recv(65_536)
        assert piece, f"closed after {read!r}"
        read += piece
    return read


def parsed(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split()[1]), {n.lower(): v for n, v in (line.split(": ", 1) for line in lines)}, body


@contextlib.contextmanager
def running(amqp_uri: str, *, stderr: int | None = None, **environment: str) -> Iterator[Clients]:
    process = start_gateway(amqp_uri, stderr, GATEWAY_PORT="", **environment)
    with contextlib.ExitStack() as closing:
        try:
            clients = Clients(process, closing)
            # It says that it listens before its workers are at work.
            clients.get("/metrics")
            yield clients
        finally:
            closing.close()
            process.terminate()
            process.communicate(timeout=DEADLINE_S)


@pytest.fixture
def usual() -> Iterator[Clients]:
    """As many workers and threads as usual."""
    with running(NO_BROKER, GATEWAY_WORKERS="2", GATEWAY_THREADS="64") as clients:
        yield clients


@pytest.fixture
def small() -> Iterator[Clients]:
    """One worker with two threads."""
    with running(NO_BROKER) as clients:
        yield clients


class TestSlowClients:
    def test_who_trickles_holds_nobody_up_and_is_cut_off(self, usual: Clients) -> None:
        """Given more of them than there are threads, each sending a byte now and then."""
        tricklers = [usual.connect(BEGINNING) for _ in range(CROWD)]
        assert usual.is_served()
        for trickler in tricklers:
            trickler.sendall(b"a")
        assert usual.is_served()

        status, headers, body = parsed(read_all(tricklers[0]))

        assert (status, headers["connection"]) == (408, "close")
        assert json.loads(body)["code"] == "request_timeout"
        tricklers[-1].settimeout(REQUEST_S)
        assert read_all(tricklers[-1]).startswith(b"HTTP/1.1 408 ")
        assert usual.is_served()

    def test_who_does_not_end_its_headers_is_cut_off_too(self, small: Clients) -> None:
        client = small.connect(b"GET /health/live HTTP/1.1\r\nX: ")

        assert read_all(client).startswith(b"HTTP/1.1 408 ")

    def test_who_connects_and_says_nothing_holds_nobody_up(self, small: Clients) -> None:
        """Given more of them than may wait, and some that had an answer before."""
        for _ in range(MOST_WAITING + 50):
            small.connect()
        for _ in range(20):
            read_until(small.connect(ALIVE), b"alive")

        assert small.is_served()

    def test_who_does_not_read_holds_a_thread_for_a_while_only(self, small: Clients) -> None:
        """Given more of them than threads, each asking for more than fits between us."""
        many = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 300
        for _ in range(4):
            small.connect(many, buffer_bytes=4096)

        def had_to_wait() -> bool:
            began = time.monotonic()
            assert small.get("/health/live", 3 * SENDING_S)[0] == 200
            return time.monotonic() - began > 1.0

        wait_until(had_to_wait, "all threads are taken, and given back")

    def test_a_request_in_pieces_is_answered_like_any_other(self, small: Clients) -> None:
        client = small.connect()
        for at in range(0, len(ALIVE), 7):
            client.sendall(ALIVE[at : at + 7])

        assert read_until(client, b"alive").startswith(b"HTTP/1.1 200 ")


class TestConnections:
    def test_one_connection_serves_many_requests(self, small: Clients) -> None:
        client = small.connect()
        for _ in range(3):
            client.sendall(ALIVE)
            assert b"keep-alive" in read_until(client, b'alive"}')

    def test_requests_that_come_together_are_answered_in_turn(self, small: Clients) -> None:
        last = ALIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

        assert read_all(small.connect(ALIVE * 3 + last)).count(b'{"status":"alive"}') == 4

    def test_a_body_in_chunks_is_read(self, small: Clients) -> None:
        head = b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        ending = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{\xff\r\n0\r\n\r\n"

        status, _, _ = small.answer_to(head + ending)

        assert 400 <= status < 500
        assert status != 408

    def test_who_asks_first_is_told_to_go_ahead(self, small: Clients) -> None:
        head = b"POST /nope HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        client = small.connect(head)
        assert read_until(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

        client.sendall(b"{}")

        assert read_until(client, b"requestId").startswith(b"HTTP/1.1 404 ")


BROKEN = {
    b"NONSENSE\r\n\r\n": 400,
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n": 400,
    b"GET / HTTP/1.1\nHost: x\n\n": 400,
    b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1a\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": 400,
    b"\x16\x03\x01\x02\x00\x01": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n": 413,
    b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n": 414,
    b"GET / HTTP/1.1\r\nHost: x\r\nExpect: a miracle\r\n\r\n": 417,
    b"GET / HTTP/1.1\r\nX: " + b"a" * 9_000 + b"\r\n\r\n": 431,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: magic, chunked\r\n\r\n": 501,
}


def test_what_is_no_request_is_answered_with_a_problem(small: Clients) -> None:
    for request, expected in BROKEN.items():
        status, headers, body = small.answer_to(request)

        document = json.loads(body)
        assert (status, document["status"]) == (expected, expected), request[:50]
        assert headers["content-type"] == "application/problem+json"
        named = {413: "payload_too_large", 414: "uri_too_long"}
        assert document["code"] == named.get(expected, "bad_request")
        assert document["requestId"] == headers["x-request-id"]
    assert small.is_served()


def test_a_body_that_is_too_large_is_refused_while_it_is_sent(small: Clients) -> None:
    """The answer is not lost although nobody reads the rest."""
    head = b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"

    assert small.answer_to(head + b"x" * 1_000_000)[0] == 413


def test_the_figures_are_those_of_all_workers(usual: Clients) -> None:
    name = 'ordersaga_http_requests_total{endpoint="/health/live",method="GET",status="200"}'
    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(lambda _: usual.is_served(), range(60)))

    assert {usual.figure(name) for _ in range(10)} == {60.0}


def _authorization() -> str:
    return f"Authorization: {bearer()['Authorization']}"


class OrderService(RpcService):
    """One order that never ends, and answers that take a while."""

    def _follow_orders(self, properties: Any, arguments: Any) -> None:
        order = {"id": ORDER_ID, "status": "PENDING"}
        answer = {"order": order, "events": [], "isWhole": False, "hasCheckedOut": False}
        self.reply(properties, [answer for _ in arguments["wanted"]])

    def _get_order(self, properties: Any, arguments: Any) -> None:
        self.connection.call_later(2.0, lambda: self.reply(properties, {"id": arguments["order_id"]}))


class TestWithServices:
    @pytest.fixture
    def orders(self, stack_environment: Mapping[str, str]) -> Iterator[OrderService]:
        service = OrderService(stack_environment["AMQP_URI"], "order_service")
        yield service
        service.close()

    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        return tmp_path / "gateway.log"

    @pytest.fixture
    def gateway(self, stack_environment: Mapping[str, str], orders: OrderService, log: Path) -> Iterator[Clients]:
        with (
            log.open("w") as output,
            running(stack_environment["AMQP_URI"], stderr=output.fileno(), GATEWAY_THREADS="16") as clients,
        ):
            yield clients

    @staticmethod
    def watch(gateway: Clients) -> socket.socket:
        request = f"GET /api/v1/orders/{ORDER_ID}/events HTTP/1.1\r\nHost: x\r\n{_authorization()}\r\n\r\n"
        client = gateway.connect(request.encode())
        read_until(client, b"event: order")
        return client

    def test_streams_give_their_place_back_when_their_client_leaves(self, gateway: Clients) -> None:
        watching = [self.watch(gateway) for _ in range(3)]
        assert gateway.figure("ordersaga_streams_open") == 3

        for client in watching:
            client.close()

        wait_until(lambda: gateway.figure("ordersaga_streams_open") == 0, "no stream is open")

    def test_term_ends_streams_and_lets_requests_end(self, gateway: Clients, orders: OrderService, log: Path) -> None:
        client = self.watch(gateway)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(gateway.get, f"/api/v1/orders/{ORDER_ID}")
            wait_until(lambda: any(name == "get_order" for name, _ in orders.seen), "it was asked")

            code = gateway.end()

            assert code == 0
            assert asked.result(DEADLINE_S) == (200, json.dumps({"id": ORDER_ID}, separators=(",", ":")).encode())
        # By itself, not killed at the end of its grace.
        assert "Worker exiting" in log.read_text()
        # The last chunk: the stream was ended, not cut.
        assert read_all(client).endswith(b"0\r\n\r\n")
