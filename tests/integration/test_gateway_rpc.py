"""The gateway's RPC client against a real broker, with a service of its own and a link that can be cut."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from harness.gateway_process import start_gateway
from harness.rpc_service import RpcService

from gateway.rpc import RpcClient
from gateway.services import CallTimedOut, OutcomeUnknown, ReplyLost, ServiceFailed, ServiceUnavailable
from shared.errors import OrderNotFound

pytestmark = pytest.mark.integration

DEADLINE_S = 60.0
THREADS = 2


class FakeService(RpcService):
    """Answers at once, late, never, with errors, or when enough calls are there."""

    def __init__(self, amqp_uri: str) -> None:
        self._together: list[Any] = []
        super().__init__(amqp_uri)

    def _echo(self, properties: Any, arguments: Any) -> None:
        self.reply(properties, result=arguments)

    def _never(self, properties: Any, arguments: Any) -> None:
        pass

    def _late(self, properties: Any, arguments: Any) -> None:
        self.connection.call_later(arguments["after_s"], lambda: self.reply(properties, result=arguments["answer"]))

    def _all_together(self, properties: Any, arguments: Any) -> None:
        self._together.append((properties, arguments))
        if len(self._together) == arguments["count"]:
            for waiting, its_arguments in reversed(self._together):
                self.reply(waiting, result=its_arguments["number"])

    def _missing(self, properties: Any, arguments: Any) -> None:
        error = {"exc_type": "OrderNotFound", "exc_path": "", "exc_args": ["no order", {"orderId": "7"}]}
        self.reply(properties, error=error)

    def _broken(self, properties: Any, arguments: Any) -> None:
        self.reply(properties, error={"exc_type": "KeyError", "exc_path": "", "exc_args": [], "value": "x"})


class Cable:
    """A TCP connection to the broker through this process, which can be cut and mended."""

    def __init__(self, amqp_uri: str) -> None:
        parts = urlsplit(amqp_uri)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5672)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._whole = True
        netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{self._listener.getsockname()[1]}"
        self.uri = urlunsplit(parts._replace(netloc=netloc.removeprefix("@")))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._whole = False
        while self._ends:
            end = self._ends.pop()
            end.shutdown(socket.SHUT_RDWR)
            end.close()

    def mend(self) -> None:
        self._whole = True

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._whole:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
        except OSError:
            return


@pytest.fixture
def amqp_uri(stack_environment: Mapping[str, str]) -> str:
    return stack_environment["AMQP_URI"]


@pytest.fixture
def service(amqp_uri: str) -> Iterator[FakeService]:
    fake = FakeService(amqp_uri)
    yield fake
    fake.close()


@pytest.fixture
def client(amqp_uri: str) -> Iterator[RpcClient]:
    rpc = RpcClient(amqp_uri, timeout_s=DEADLINE_S)
    rpc.start()
    yield rpc
    rpc.close()


@pytest.fixture
def cable(amqp_uri: str) -> Iterator[Cable]:
    through = Cable(amqp_uri)
    yield through
    through.close()


@pytest.fixture
def cabled_client(cable: Cable) -> Iterator[RpcClient]:
    rpc = RpcClient(cable.uri, timeout_s=DEADLINE_S)
    rpc.start()
    yield rpc
    rpc.close()


def eventually(condition: Any, what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.01)


def call_until_answered(client: RpcClient, service: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return client.call(service, "echo", number=1)
        except (ServiceUnavailable, OutcomeUnknown):
            if time.monotonic() > deadline:
                raise


def test_an_answer_comes_back(client: RpcClient, service: FakeService) -> None:
    assert client.call(service.name, "echo", text="grüße", number=5) == {"text": "grüße", "number": 5}


def test_a_call_says_by_when_it_is_of_use(client: RpcClient, service: FakeService) -> None:
    client.call(service.name, "echo", timeout_s=3.0)

    [(_, properties)] = service.seen
    assert 1_000 < int(properties.expiration) <= 3_000
    assert properties.delivery_mode == 1
    assert properties.headers["nameko.call_id_stack"][0].startswith("gateway.")


def test_many_calls_share_the_connection_and_none_waits_for_another(client: RpcClient, service: FakeService) -> None:
    """The service answers none of them before all of them are there, and then in reverse order."""
    count = 100
    with ThreadPoolExecutor(count) as pool:
        answers = list(
            pool.map(
                lambda number: client.call(service.name, "all_together", count=count, number=number),
                range(count),
            )
        )

    assert answers == list(range(count))
    assert len({properties.reply_to for _, properties in service.seen}) == 1
    assert client.pending_calls == 0


def test_an_error_of_ours_comes_back_as_itself(client: RpcClient, service: FakeService) -> None:
    with pytest.raises(OrderNotFound, match="no order") as raised:
        client.call(service.name, "missing")
    assert raised.value.details == {"orderId": "7"}


def test_any_other_error_comes_back_as_a_failure(client: RpcClient, service: FakeService) -> None:
    with pytest.raises(ServiceFailed):
        client.call(service.name, "broken")


def test_silence_ends_at_the_deadline(client: RpcClient, service: FakeService) -> None:
    with pytest.raises(CallTimedOut):
        client.call(service.name, "never", timeout_s=0.3)
    assert client.pending_calls == 0


def test_a_late_answer_is_dropped(client: RpcClient, service: FakeService) -> None:
    with pytest.raises(CallTimedOut):
        client.call(service.name, "late", timeout_s=0.2, after_s=0.5, answer="late")

    # Asked for after the late one and answered after it: by now the late one has come in.
    assert client.call(service.name, "late", after_s=0.6, answer="right") == "right"
    assert client.pending_calls == 0


def test_a_service_without_a_queue_is_unavailable_at_once(client: RpcClient) -> None:
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable):
        client.call(f"nobody_{uuid4().hex}", "health")
    assert time.monotonic() - began < DEADLINE_S / 2


def test_a_cut_fails_what_was_sent_and_the_link_heals(
    cabled_client: RpcClient, cable: Cable, service: FakeService
) -> None:
    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(cabled_client.call, service.name, "never") for _ in range(10)]
        eventually(lambda: len(service.seen) == 10, "all calls arrived")

        cable.cut()

        # Not ServiceUnavailable: the service has them, and may yet act on them.
        assert all(isinstance(call.exception(timeout=DEADLINE_S / 2), ReplyLost) for call in calls)

    cable.mend()
    assert call_until_answered(cabled_client, service.name) == {"number": 1}
    assert cabled_client.pending_calls == 0


def test_without_a_broker_calls_fail_soon_and_surely(
    cabled_client: RpcClient, cable: Cable, service: FakeService
) -> None:
    call_until_answered(cabled_client, service.name)
    cable.cut()

    began = time.monotonic()
    for _ in range(20):
        with pytest.raises((ServiceUnavailable, ReplyLost)):
            cabled_client.call(service.name, "echo")
    # Only while the link has just broken is there anything to wait for.
    assert time.monotonic() - began < 5.0

    with pytest.raises(ServiceUnavailable):
        cabled_client.call(service.name, "echo")
    cable.mend()
    assert call_until_answered(cabled_client, service.name) == {"number": 1}


def test_the_next_broker_is_tried(amqp_uri: str, service: FakeService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    client = RpcClient(f"amqp://127.0.0.1:{port}/;{amqp_uri}", timeout_s=DEADLINE_S)
    client.start()
    try:
        assert call_until_answered(client, service.name) == {"number": 1}
    finally:
        client.close()


def test_closing_fails_what_is_under_way_and_ends_the_thread(amqp_uri: str, service: FakeService) -> None:
    client = RpcClient(amqp_uri, timeout_s=DEADLINE_S)
    client.start()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.call, service.name, "never")
        eventually(lambda: service.seen, "the call arrived")

        client.close()

        assert isinstance(call.exception(timeout=DEADLINE_S), ReplyLost)
    with pytest.raises(ServiceUnavailable):
        client.call(service.name, "echo")


def test_more_calls_than_allowed_are_refused(amqp_uri: str, service: FakeService) -> None:
    client = RpcClient(amqp_uri, timeout_s=DEADLINE_S, max_pending=2)
    client.start()
    call_until_answered(client, service.name)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(client.call, service.name, "late", after_s=6.0, answer=n) for n in range(2)]
        eventually(lambda: client.pending_calls == 2, "both calls are under way")

        with pytest.raises(ServiceUnavailable, match="Too many"):
            client.call(service.name, "echo")

        assert [call.result() for call in calls] == [0, 1]
    client.close()


USUAL_PORT = 8000


class TestProcess:
    """``python -m gateway`` as a whole."""

    @pytest.fixture
    def usual_port_is_taken(self) -> Iterator[None]:
        """By somebody else already, or by this test."""
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", USUAL_PORT)))
            yield

    @pytest.fixture
    def gateway(self, amqp_uri: str, usual_port_is_taken: None) -> Iterator[subprocess.Popen[str]]:
        process = start_gateway(amqp_uri)
        yield process
        process.kill()
        process.communicate()

    def test_a_named_port_that_is_taken_is_no_reason_to_move(self, amqp_uri: str) -> None:
        """Whoever named it told others of it: they would talk to a stranger."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            process = start_gateway(amqp_uri, stderr=subprocess.PIPE, GATEWAY_PORT=str(port))
            _, said = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, said) == (1, f"gateway: [Errno 98] port {port} of 127.0.0.1 is taken\n")

    def test_chooses_a_free_port_serves_and_ends_on_term(self, gateway: subprocess.Popen[str]) -> None:
        assert gateway.stdout is not None
        line = gateway.stdout.readline()
        address = line.split()[-1]

        assert line.startswith("gateway listening on http://127.0.0.1:")
        assert urlsplit(address).port != USUAL_PORT
        with urllib.request.urlopen(f"{address}/api/v1/health/live", timeout=DEADLINE_S) as response:  # noqa: S310
            assert json.load(response) == {"status": "alive"}

        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(timeout=DEADLINE_S) == 0
