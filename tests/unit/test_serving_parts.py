"""Patience, refusals, presence: the parts of the worker that need no gateway."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from gunicorn.http import errors  # type: ignore[import-untyped]

from gateway.serving.incoming import Refused
from gateway.serving.patience import Patience
from gateway.serving.presence import is_gone
from gateway.serving.refusals import failure_bytes, refusal_bytes, refusal_of


class TestPatience:
    def test_ends_in_the_order_in_which_it_began(self) -> None:
        patience: Patience[str] = Patience(10.0)
        for name, now in (("a", 0.0), ("b", 1.0), ("c", 5.0)):
            patience.add(name, now)

        assert patience.over(9.9) == []
        assert patience.over(11.0) == ["a", "b"]
        assert (patience.oldest(), len(patience), list(patience)) == ("a", 3, ["a", "b", "c"])

    def test_who_is_discarded_waits_no_more(self) -> None:
        patience: Patience[str] = Patience(10.0)
        patience.add("a", 0.0)

        patience.discard("a")
        patience.discard("never there")

        assert (patience.over(99.0), patience.oldest(), "a" in patience) == ([], None, False)

    def test_can_be_shortened_for_all(self) -> None:
        patience: Patience[str] = Patience(10.0)
        patience.add("a", 0.0)
        patience.add("b", 100.0)

        patience.end_by(50.0)

        assert patience.over(10.0) == ["a"]
        assert patience.over(50.0) == ["a", "b"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (errors.InvalidRequestLine("x"), 400),
            (errors.InvalidHeaderName("x"), 400),
            (errors.ObsoleteFolding("x"), 400),
            (errors.LimitRequestLine(5000, 4094), 414),
            (errors.LimitRequestHeaders("x"), 431),
            (errors.ExpectationFailed("x"), 417),
            (errors.UnsupportedTransferCoding("x"), 501),
        ],
    )
    def test_of_the_parser_are_the_clients_fault(self, error: Exception, status: int) -> None:
        refused = refusal_of(error)

        assert refused is not None
        code = "uri_too_long" if status == 414 else "bad_request"
        assert (refused.status.value, refused.code) == (status, code)

    @pytest.mark.parametrize("error", [RuntimeError("x"), errors.InvalidResponseHeader("x")])
    def test_of_our_own_making_are_none(self, error: Exception) -> None:
        assert refusal_of(error) is None

    def test_are_problem_documents_like_any_other(self) -> None:
        refused = refusal_of(errors.InvalidHeaderName("b\xe4d\r\nX-Evil: 1"))
        assert isinstance(refused, Refused)

        head, body = self.parsed(refusal_bytes(refused))

        document = json.loads(body)
        assert head["content-type"] == "application/problem+json"
        assert head["connection"] == "close"
        assert head["x-content-type-options"] == "nosniff"
        assert int(head["content-length"]) == len(body)
        assert document["requestId"] == head["x-request-id"]
        assert (document["code"], document["status"]) == ("bad_request", 400)
        assert "x-evil" not in head

    def test_a_fault_of_ours_tells_nothing(self) -> None:
        head, body = self.parsed(failure_bytes())

        assert json.loads(body)["code"] == "internal_error"
        assert head[""] == "HTTP/1.1 500 Internal Server Error"

    @staticmethod
    def parsed(answer: bytes) -> tuple[dict[str, Any], bytes]:
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        fields = [line.split(": ", 1) for line in lines]
        return {"": first} | {name.lower(): value for name, value in fields}, body


class TestPresence:
    def test_a_client_is_there_until_it_closes(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(10.0)
            assert not is_gone(ours)

            theirs.sendall(b"x")
            assert not is_gone(ours)

            assert ours.recv(1) == b"x"
            theirs.close()
            assert is_gone(ours)

    def test_a_socket_that_is_closed_here_is_gone_too(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.close()
            assert is_gone(ours)

    def test_without_a_socket_nobody_can_tell(self) -> None:
        assert not is_gone(None)
