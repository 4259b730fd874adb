"""The RPC client's parts that need no broker: message format, addresses, and the calls under way."""

from __future__ import annotations

import json
import time
from collections import deque
from types import SimpleNamespace
from typing import Any

import pika
import pytest

from gateway.rpc import RpcClient
from gateway.rpc.pending import Call, PendingCalls
from gateway.rpc.session import Session, SessionEvents
from gateway.rpc.wire import decode_reply, encode_call
from gateway.services import CallTimedOut, ReplyLost, ServiceFailed, ServiceUnavailable
from shared.errors import Misconfigured, OrderNotFound, UnknownItem
from shared.messaging.addresses import split_addresses


def new_call(name: str = "c1") -> Call:
    return Call(correlation_id=name, routing_key="s.m", body=b"{}", deadline_s=time.monotonic() + 60)


def reply(**fields: Any) -> bytes:
    return json.dumps({"result": None, "error": None} | fields).encode()


class TestWire:
    def test_a_call_carries_its_arguments_by_name(self) -> None:
        assert json.loads(encode_call({"limit": 5})) == {"args": [], "kwargs": {"limit": 5}}

    @pytest.mark.parametrize("result", [None, 0, "", [], {"a": 1}])
    def test_a_result_is_returned(self, result: Any) -> None:
        assert decode_reply(reply(result=result)) == result

    def test_an_error_of_ours_is_raised_with_its_details(self) -> None:
        error = {"exc_type": "UnknownItem", "exc_path": "x", "exc_args": ["no mug", {"items": ["mug"]}]}

        with pytest.raises(UnknownItem, match="no mug") as raised:
            decode_reply(reply(error=error))
        assert raised.value.details == {"items": ["mug"]}

    @pytest.mark.parametrize("arguments", [None, [], [5], ["text"], ["text", "odd"], [{}, []]])
    def test_an_error_of_ours_with_odd_arguments_is_still_that_error(self, arguments: Any) -> None:
        with pytest.raises(OrderNotFound) as raised:
            decode_reply(reply(error={"exc_type": "OrderNotFound", "exc_args": arguments}))
        assert raised.value.details == {}

    @pytest.mark.parametrize("error", [{"exc_type": "KeyError", "value": "x" * 9999}, {}, "text", 5])
    def test_any_other_error_is_a_failure_of_the_service(self, error: Any) -> None:
        with pytest.raises(ServiceFailed) as raised:
            decode_reply(reply(error=error))
        assert len(raised.value.details["value"]) <= 500

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"{}", b'{"result": 1}', b"\xff"])
    def test_what_is_no_reply_is_a_failure_of_the_service(self, body: bytes) -> None:
        with pytest.raises(ServiceFailed):
            decode_reply(body)


class TestAddresses:
    def test_several_brokers_are_separated_by_semicolons(self) -> None:
        assert split_addresses("amqp://a/v ; amqp://b/v;;") == ["amqp://a/v", "amqp://b/v"]

    def test_an_empty_path_segment_is_the_default_virtual_host(self) -> None:
        assert split_addresses("amqp://u:p@a:5672//") == ["amqp://u:p@a:5672/%2F"]

    @pytest.mark.parametrize("uri", ["", " ; ", "http://a:x/", "ftp://a/", "amqp://u:hush@a:notaport/"])
    def test_what_is_no_amqp_uri_is_refused_without_quoting_it(self, uri: str) -> None:
        with pytest.raises(Misconfigured) as raised:
            RpcClient(uri)
        assert "hush" not in str(raised.value)


class TestPendingCalls:
    def test_an_answer_reaches_its_caller_once(self) -> None:
        pending, call = PendingCalls(limit=10), new_call()
        pending.add(call)

        pending.resolve("c1", b"first")
        pending.resolve("c1", b"second")

        assert call.answer.result(timeout=0) == b"first"
        assert len(pending) == 0

    @pytest.mark.parametrize("correlation_id", [None, "", "unknown"])
    def test_an_answer_nobody_waits_for_is_dropped(self, correlation_id: str | None) -> None:
        pending, call = PendingCalls(limit=10), new_call()
        pending.add(call)

        pending.resolve(correlation_id, b"late")

        assert not call.answer.done()

    def test_losing_the_connection_says_what_is_certain(self) -> None:
        pending, sent, unsent = PendingCalls(limit=10), new_call("sent"), new_call("unsent")
        pending.add(sent)
        pending.add(unsent)
        assert pending.claim_for_sending(sent)

        pending.fail_all("gone")

        assert isinstance(sent.answer.exception(timeout=0), ReplyLost)
        assert isinstance(unsent.answer.exception(timeout=0), ServiceUnavailable)
        assert not pending.claim_for_sending(unsent)
        assert len(pending) == 0

    def test_giving_up_says_whether_the_call_was_sent(self) -> None:
        pending, sent, unsent = PendingCalls(limit=10), new_call("sent"), new_call("unsent")
        pending.add(sent)
        pending.add(unsent)
        pending.claim_for_sending(sent)

        assert isinstance(pending.expire(sent), CallTimedOut)
        assert isinstance(pending.expire(unsent), ServiceUnavailable)
        assert not pending.claim_for_sending(unsent)

    def test_giving_up_after_the_answer_came_keeps_the_answer(self) -> None:
        pending, call = PendingCalls(limit=10), new_call()
        pending.add(call)
        pending.resolve("c1", b"just in time")

        assert pending.expire(call) is None

    def test_a_returned_call_had_no_effect(self) -> None:
        pending, call = PendingCalls(limit=10), new_call()
        pending.add(call)
        pending.claim_for_sending(call)

        pending.refuse("c1", "nobody there")

        assert isinstance(call.answer.exception(timeout=0), ServiceUnavailable)

    def test_there_is_a_limit(self) -> None:
        pending = PendingCalls(limit=1)
        pending.add(new_call("c1"))

        with pytest.raises(ServiceUnavailable):
            pending.add(new_call("c2"))


def test_without_a_connection_a_call_fails_and_leaves_nothing_behind() -> None:
    client = RpcClient("amqp://127.0.0.1:1/", timeout_s=0.05)

    with pytest.raises(ServiceUnavailable):
        client.call("order_service", "health")
    assert client.pending_calls == 0


class _ChannelSpy:
    """Takes the place of pika's connection, channel and loop."""

    is_open, is_closing, is_closed = True, False, False

    def __init__(self) -> None:
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments, **_named: self.called.append(name)


@pytest.mark.parametrize("with_confirms", [False, True])
def test_whoever_has_several_brokers_hears_of_refused_calls(with_confirms: bool) -> None:
    session, spy = _session(with_confirms)
    session._on_channel_open(spy)
    assert ("confirm_delivery" in spy.called) is with_confirms


@pytest.mark.parametrize(("answer", "is_over"), [(pika.spec.Basic.Ack, False), (pika.spec.Basic.Nack, True)])
def test_a_refused_call_ends_the_session(answer: Any, is_over: bool) -> None:
    session, spy = _session(True)
    session._on_confirm(SimpleNamespace(method=answer(1)))
    assert ("close" in spy.called) is is_over
    session._on_ended(spy, "Normal shutdown")
    assert session.end_reason == ("the broker refused a call" if is_over else "Normal shutdown")


def _session(with_confirms: bool) -> tuple[Session, _ChannelSpy]:
    events = SessionEvents(on_ready=lambda: None, on_unready=lambda _message: None)
    parameters = pika.URLParameters("amqp://nowhere")
    session = Session(parameters, PendingCalls(1), deque(), events, with_confirms=with_confirms)
    session._loop.close()
    spy = _ChannelSpy()
    session._loop = session._connection = spy  # type: ignore[assignment]
    return session, spy
