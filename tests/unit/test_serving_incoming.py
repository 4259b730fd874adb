"""Where a request ends: whatever pieces it comes in, and whatever is wrong with it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.incoming import LARGEST_BODY_BYTES, LARGEST_HEAD_BYTES, Incoming, Refused

GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED_HEAD = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = CHUNKED_HEAD + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
WHOLE = (GET, POST, CHUNKED)


def refusal(data: bytes) -> int:
    with pytest.raises(Refused) as raised:
        Incoming().add(data)
    return raised.value.status.value


@pytest.mark.parametrize("request_", WHOLE)
def test_is_complete_with_its_last_byte(request_: bytes) -> None:
    incoming = Incoming()

    assert [incoming.add(request_[at : at + 1]) for at in range(len(request_))] == [False] * (len(request_) - 1) + [
        True
    ]
    assert incoming.take() == request_


@given(st.sampled_from(WHOLE), st.lists(st.integers(1, 80), max_size=8))
def test_the_pieces_do_not_matter(request_: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(request_), *(cut for cut in cuts if cut < len(request_))})
    incoming = Incoming()

    said = [incoming.add(request_[begin:end]) for begin, end in pairwise(places)]

    assert said == [False] * (len(said) - 1) + [True]


@pytest.mark.parametrize("request_", WHOLE)
def test_the_next_request_may_come_along(request_: bytes) -> None:
    incoming = Incoming()

    assert incoming.add(request_ + GET)
    assert incoming.take() == request_ + GET


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ],
)
def test_what_the_parser_refuses_is_handed_to_it_at_once(head: bytes) -> None:
    assert Incoming().add(head)


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b"0x1\r\n",
        b"5;name=value\r\n",
        b"123456789\r\n",
        b"1" * 17,
        b"1\r\nabc",
        b"0\r\nTrailer: x\r\n\r\n",
    ],
)
def test_malformed_chunks_are_refused_before_anybody_reads_them(body: bytes) -> None:
    assert refusal(CHUNKED_HEAD + body) == 400


class TestLimits:
    def test_a_body_that_is_declared_too_large_is_not_waited_for(self) -> None:
        assert refusal(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (LARGEST_BODY_BYTES + 1)) == 413
        assert refusal(b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n") == 413
        assert not Incoming().add(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % LARGEST_BODY_BYTES)

    def test_a_body_in_chunks_has_an_end_too(self) -> None:
        assert refusal(CHUNKED_HEAD + b"fffff\r\n" + b"x" * 3 * LARGEST_BODY_BYTES) == 413

    def test_so_do_headers_and_the_request_line(self) -> None:
        assert refusal(b"GET / HTTP/1.1\r\nX: " + b"x" * LARGEST_HEAD_BYTES) == 431
        assert refusal(b"GET / HTTP/1.1\r\nX: " + b"x" * LARGEST_HEAD_BYTES + b"\r\n\r\n") == 431
        assert refusal(b"GET /" + b"x" * LARGEST_HEAD_BYTES) == 414

    @pytest.mark.parametrize("data", [b"\x16\x03\x01\x02", b"\x00", b"\xff", b" GET /"])
    def test_what_is_not_http_is_not_waited_for(self, data: bytes) -> None:
        assert refusal(data) == 400


def test_who_waits_for_a_go_ahead_gets_one() -> None:
    incoming = Incoming()

    assert not incoming.add(b"POST /x HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
    assert [incoming.take_go_ahead(), incoming.take_go_ahead()] == [True, False]
    assert incoming.add(b"{}")
