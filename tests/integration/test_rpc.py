"""Requests over Nameko's protocol: any client is answered, no request ends a service, a key is one order."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pika
import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.processes import ROOT, Processes, ServiceProcess
from harness.shop import Shop
from harness.waiting import wait_until

from gateway.rpc import RpcClient
from shared.errors import Conflict, IdempotencyKeyInProgress, IdempotencyKeyReused, InvalidRequest, Unprocessable

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("services", "clean")]

EXCHANGE, QUEUE = "nameko-rpc", "rpc-order_service"
CALL_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def services(processes: Processes) -> None:
    processes.start_saga(["order_service", "inventory_service"])


@pytest.fixture
def order_service(processes: Processes) -> Iterator[ServiceProcess]:
    [process] = processes.of("order_service")
    yield process
    assert process.is_alive


class Caller:
    """A caller that may send anything, and waits for whatever reply comes."""

    def __init__(self, amqp_uri: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(amqp_uri))
        self._channel = self._connection.channel()
        self.reply_to = uuid4().hex
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(self._queue, EXCHANGE, self.reply_to)

    def send(self, method: str, body: bytes, **properties: Any) -> None:
        self._channel.basic_publish(
            EXCHANGE, f"order_service.{method}", body, pika.BasicProperties(**properties), mandatory=True
        )

    def ask(self, method: str, body: bytes, **properties: Any) -> dict[str, Any]:
        correlation_id = uuid4().hex
        self.send(method, body, reply_to=self.reply_to, correlation_id=correlation_id, **properties)
        for method_frame, answer, reply in self._channel.consume(self._queue, inactivity_timeout=CALL_TIMEOUT_S):
            assert method_frame is not None, f"no answer to {body[:100]!r}"
            if answer.correlation_id == correlation_id:
                self._channel.cancel()
                found: dict[str, Any] = json.loads(reply)
                return found
        raise AssertionError("the reply queue is gone")

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def caller(stack_environment: Mapping[str, str]) -> Iterator[Caller]:
    caller = Caller(stack_environment["AMQP_URI"])
    yield caller
    caller.close()


def _call(*args: Any, **kwargs: Any) -> bytes:
    return json.dumps({"args": args, "kwargs": kwargs}).encode()


BAD_REQUESTS: dict[str, tuple[str, bytes, dict[str, Any], str]] = {
    "not JSON": ("health", b"{", {}, "UndecodableMessage"),
    "empty": ("health", b"", {}, "UndecodableMessage"),
    "not an object": ("health", b"[]", {}, "UndecodableMessage"),
    "invalid UTF-8": ("health", b'"\xff"', {}, "UndecodableMessage"),
    "deep nesting": ("health", b"[" * 100_000, {}, "UndecodableMessage"),
    "foreign content type": ("health", _call(), {"content_type": "application/x-pickle"}, "UndecodableMessage"),
    "compressed": ("health", _call(), {"headers": {"compression": "gzip"}}, "UndecodableMessage"),
    "NUL": ("get_order", _call("a\x00"), {}, "UndecodableMessage"),
    "no args": ("health", b'{"kwargs": {}}', {}, "InvalidRequest"),
    "args is a table": ("health", b'{"args": {}, "kwargs": {}}', {}, "InvalidRequest"),
    "kwargs is a list": ("health", b'{"args": [], "kwargs": []}', {}, "InvalidRequest"),
    "unknown method": ("no_such_method", _call(), {}, "MethodNotFound"),
    "private method": ("_apply", _call([]), {}, "MethodNotFound"),
    "event handler": ("on_payment_success", _call([]), {}, "MethodNotFound"),
    "too many arguments": ("health", _call(1, 2), {}, "InvalidRequest"),
    "unknown argument": ("health", _call(verbose=True), {}, "InvalidRequest"),
    "missing argument": ("get_order", _call(), {}, "InvalidRequest"),
    "order is null": ("place_order", _call(None), {}, "InvalidRequest"),
    "order is a list": ("place_order", _call([1]), {}, "InvalidRequest"),
    "key is a number": ("place_order", _call({}, idempotency_key=7), {}, "InvalidRequest"),
    "key is empty": ("place_order", _call({}, idempotency_key=""), {}, "InvalidRequest"),
    "correlation id is too long": ("place_order", _call({}, correlation_id="é" * 200), {}, "InvalidRequest"),
    "a line is wrong": (
        "place_order",
        _call({"userId": "ann", "items": [{"item": "x", "quantity": "many"}]}),
        {},
        "InvalidRequest",
    ),
    "id is a number": ("get_order", _call(7), {}, "OrderNotFound"),
    "id is a table": ("get_order", _call({}), {}, "OrderNotFound"),
    "limit is a text": ("list_orders", _call(limit="10"), {}, "InvalidRequest"),
    "limit is huge": ("list_orders", _call(limit=10**9), {}, "InvalidRequest"),
    "cursor is no cursor": ("list_orders", _call(cursor="next"), {}, "InvalidRequest"),
    "status is a list": ("list_orders", _call(status=["PENDING"]), {}, "InvalidRequest"),
    "user is a table": ("list_orders", _call(user_id={}), {}, "InvalidRequest"),
    "bulk is a text": ("place_orders", _call("many"), {}, "InvalidRequest"),
}


@pytest.mark.parametrize(("method", "body", "properties", "error"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_a_bad_request_is_answered_by_name(
    caller: Caller, order_service: ServiceProcess, method: str, body: bytes, properties: dict[str, Any], error: str
) -> None:
    answer = caller.ask(method, body, **properties)

    assert answer["result"] is None
    assert answer["error"]["exc_type"] == error
    message, details = answer["error"]["exc_args"]
    assert message
    assert isinstance(details, dict)


ODD_REQUESTS: dict[str, dict[str, Any]] = {
    "call_id_stack of the wrong type": {"headers": {"nameko.call_id_stack": "x"}},
    "call_id_stack of numbers": {"headers": {"nameko.call_id_stack": [1, 2]}},
    "unknown nameko headers": {"headers": {"nameko.user_id": {"a": [1]}, "nameko.x": None}},
    "no content type": {"content_type": None},
}


@pytest.mark.parametrize("properties", ODD_REQUESTS.values(), ids=ODD_REQUESTS.keys())
def test_odd_headers_do_not_matter(caller: Caller, order_service: ServiceProcess, properties: dict[str, Any]) -> None:
    assert caller.ask("health", _call(), **properties)["result"]["database"] == "up"


def test_requests_that_nobody_can_be_answered_for_are_taken_all_the_same(
    caller: Caller, order_service: ServiceProcess, broker: Broker
) -> None:
    """Given requests without reply_to, with one that leads nowhere, or unreadable ones, then the queue empties."""
    caller.send("health", _call())
    caller.send("no_such_method", _call())
    caller.send("health", b"{")
    caller.send("health", _call(), reply_to="")
    caller.send("health", _call(), reply_to="nobody." + "x" * 200)
    caller.send("health", _call(), reply_to="nobody", correlation_id="é" * 127)

    assert caller.ask("health", _call())["result"]["service"] == "order_service"
    assert broker.depth(QUEUE) == 0


def test_an_unknown_error_does_not_tell_its_inside(
    caller: Caller, databases: Databases, order_service: ServiceProcess
) -> None:
    """Given a broken table, then the caller learns the kind of error, and nothing of SQL or values.

    The log has it, with what was asked and under which correlation id.
    """
    databases.query("order_service", "alter table orders rename to orders_away")
    try:
        answer = caller.ask("cancel_order", _call(str(uuid4()), correlation_id="request-7"))
    finally:
        databases.query("order_service", "alter table orders_away rename to orders")
    assert answer["error"]["exc_type"] == "InternalError"
    assert "select" not in json.dumps(answer).lower()
    [logged] = [json.loads(line) for line in order_service.output().splitlines() if '"request_failed"' in line]
    assert (logged["method"], logged["correlation_id"]) == ("cancel_order", "request-7")
    assert "UndefinedTable" in logged["exception"]


def test_a_bad_order_among_many_is_its_own_refusal(caller: Caller, shop: Shop) -> None:
    """Given bulk placing with a wrong line, an unknown item and a good order, then each has its own answer."""
    item = shop.product()
    good = {"order": {"userId": "ann", "items": [{"item": item, "quantity": 1}]}}
    wrong = {"order": {"userId": "ann", "items": [{"item": item, "quantity": 0}, {}]}}
    unknown = {"order": {"userId": "ann", "items": [{"item": "no-such-item", "quantity": 1}]}}
    answer = caller.ask("place_orders", _call([good, wrong, unknown, None]))

    assert answer["error"] is None
    codes = [entry["error"]["code"] if "error" in entry else "placed" for entry in answer["result"]]
    assert codes == ["placed", "invalid_request", "unknown_item", "invalid_request"]


def test_more_stock_than_can_be_counted_is_refused(rpc: RpcClient) -> None:
    """Given an adjustment beyond what can be counted, then it is refused by name, not failed."""
    product = {"item": "sand", "name": "Sand", "sellerId": "shop", "price": "1.00", "currency": "EUR"}
    rpc.call("inventory_service", "create_product", product={**product, "onHand": 1_000_000_000})
    adjustment = {"item": "sand", "delta": 1_000_000_000, "reason": "dug"}

    with pytest.raises(Conflict):
        rpc.call("inventory_service", "adjust_stock", adjustment=adjustment)


def test_a_price_beyond_all_money_is_refused(shop: Shop) -> None:
    item = shop.product(price="9999999999.99")
    with pytest.raises(Unprocessable):
        shop.place(item, 2)


CLUSTER_PROXY = """
import eventlet; eventlet.monkey_patch()
import json, sys
from nameko.exceptions import RemoteError
from nameko.standalone.rpc import ClusterRpcProxy
with ClusterRpcProxy({"AMQP_URI": sys.argv[1]}, timeout=10) as cluster:
    answers = {"health": cluster.order_service.health()}
    for name, call in {
        "missing": lambda: cluster.order_service.get_order("7"),
        "invalid": lambda: cluster.order_service.place_order(order={}),
        "unknown": lambda: cluster.order_service.no_such_method(),
    }.items():
        try:
            call()
        except RemoteError as error:
            answers[name] = error.exc_type
print(json.dumps(answers))
"""


def test_namekos_own_client_works(stack_environment: Mapping[str, str]) -> None:
    """Given ClusterRpcProxy (as `nameko shell` uses), then results and errors by name arrive there."""
    command = [sys.executable, "-W", "ignore", "-c", CLUSTER_PROXY, stack_environment["AMQP_URI"]]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {
        "health": {"service": "order_service", "database": "up", "broker": "up"},
        "missing": "OrderNotFound",
        "invalid": "InvalidRequest",
        "unknown": "MethodNotFound",
    }


HAND_DISPATCH = """
import eventlet; eventlet.monkey_patch()
import json, sys
from nameko.standalone.events import event_dispatcher
event_dispatcher({"AMQP_URI": sys.argv[1]})("order_service", "ORDER_CANCELLED", json.loads(sys.argv[2]))
"""


def test_namekos_own_dispatcher_reaches_the_queues(stack_environment: Mapping[str, str], databases: Databases) -> None:
    """Given an event dispatched as in `nameko shell`, without any of our metadata, then it is applied."""
    order_id = str(uuid4())
    payload = json.dumps({"id": order_id, "reason": "operator"})
    command = [sys.executable, "-W", "ignore", "-c", HAND_DISPATCH, stack_environment["AMQP_URI"], payload]
    subprocess.run(command, capture_output=True, timeout=60, cwd=ROOT, check=True)

    cancelled = "select count(*) from sagas where cancelled and order_id = %s"
    wait_until(lambda: databases.value("inventory_service", cancelled, order_id), "it was applied")


def test_one_key_used_at_once_from_many_sides_is_one_order(
    shop: Shop, databases: Databases, stack_environment: Mapping[str, str]
) -> None:
    """Given the same key and payload from two connections at once, then one order; repeats get the same answer."""
    item, key = shop.product(), uuid4().hex
    other = RpcClient(stack_environment["AMQP_URI"], timeout_s=CALL_TIMEOUT_S)
    other.start()
    barrier = threading.Barrier(16)

    def place(number: int) -> str | None:
        barrier.wait()
        try:
            return Shop(other if number % 2 else shop.rpc, databases).place(item, key=key)
        except IdempotencyKeyInProgress:
            return None

    with ThreadPoolExecutor(16) as pool:
        ids = set(pool.map(place, range(16))) - {None}
    other.close()

    assert len(ids) == 1
    assert databases.value("order_service", "select count(*) from orders") == 1
    assert {shop.place(item, key=key)} == ids


def test_a_key_is_bound_to_its_payload(shop: Shop, databases: Databases) -> None:
    """Given the same key with another payload, then it is refused and nothing is placed."""
    item, key = shop.product(), uuid4().hex
    shop.place(item, key=key)

    with pytest.raises(IdempotencyKeyReused):
        shop.place(item, 2, key=key)
    assert databases.value("order_service", "select count(*) from orders") == 1


def test_a_refused_request_does_not_use_up_its_key(shop: Shop) -> None:
    """Given a key whose first use was refused, then the same key works once the request can be met."""
    key = uuid4().hex
    with pytest.raises(InvalidRequest):
        shop.place("x", 0, key=key)
    assert shop.place(shop.product(), key=key)
