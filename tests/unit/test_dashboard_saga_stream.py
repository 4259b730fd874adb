"""The order page's stream: pieces for news, and again where a service did not have its say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from gateway import live
from gateway.dashboard import saga_stream
from gateway.dashboard.saga_stream import Piece, _Pieces
from gateway.feed import Feed, News, Stream
from shared.errors import DatabaseUnavailable

ORDER_ID = "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e"
MOST = 20


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saga_stream, "AGAIN_AFTER_S", 0.0)
    monkeypatch.setattr(live, "LOOK_UP_EVERY_S", 0.001)
    monkeypatch.setattr(live, "KEEP_ALIVE_EVERY_S", 0.05)


class NobodyAsks(Feed):
    def __init__(self) -> None:
        super().__init__(client=None, is_stopping=lambda: False)  # type: ignore[arg-type]


def _news(*, is_whole: bool) -> News:
    return News(order={"status": "RESERVED"}, events=(), is_whole=is_whole, has_checked_out=is_whole)


def _said(pieces: Iterator[Piece | Exception], *, is_whole: bool = False) -> list[str]:
    """What the stream says at first: each piece as its text, the end, and silence."""

    def piece() -> Piece:
        made = next(pieces)
        if isinstance(made, Exception):
            raise made
        return made

    stream = Stream(order_id=ORDER_ID, subject="ada", after=0)
    stream.put(_news(is_whole=is_whole))
    body = _Pieces(NobodyAsks(), stream, piece)
    lines = b"".join(itertools.islice(body, MOST)).decode().splitlines()
    return [line.partition(": ")[2] for line in lines if line.startswith(("data", ": keep"))]


def _drawn(*texts: str) -> Iterator[Piece]:
    yield from (Piece(html=text) for text in texts)


def test_the_last_news_bring_the_last_piece_and_the_end() -> None:
    assert _said(_drawn("whole"), is_whole=True) == ["whole", "over"]


def test_what_is_complete_is_not_drawn_again() -> None:
    """Given no news, then nothing but silence follows; a second piece would fail here."""
    assert set(_said(_drawn("reserved"))[1:]) == {"keep-alive"}


def test_a_service_that_was_silent_is_asked_again_until_it_has_its_say() -> None:
    """Given one that does not answer three times, then the page hears of it once, and then of the rest."""
    silent = Piece(html="without payment", silent=("payment",))
    pieces = iter([silent, silent, silent, Piece(html="with payment")])
    assert [said for said in _said(pieces) if said != "keep-alive"] == ["without payment", "with payment"]


def test_the_end_waits_for_whoever_was_silent() -> None:
    pieces = iter([Piece(html="without payment", silent=("payment",)), Piece(html="with payment")])
    assert _said(pieces, is_whole=True) == ["without payment", "with payment", "over"]


def test_another_silence_is_shown() -> None:
    pieces = iter(
        [
            Piece(html="without both", silent=("payment", "reservation")),
            Piece(html="without payment", silent=("payment",)),
            Piece(html="with both"),
        ]
    )
    assert _said(pieces, is_whole=True) == ["without both", "without payment", "with both", "over"]


def test_news_that_could_not_be_drawn_are_not_taken_for_known() -> None:
    """Given the same service silent before and after a piece that could not be made, then the later one is sent."""
    reserved, confirmed = (Piece(html=text, silent=("payment",)) for text in ("reserved", "confirmed"))
    pieces = iter([reserved, DatabaseUnavailable("away"), confirmed, Piece(html="all of it")])
    assert [said for said in _said(pieces) if said != "keep-alive"] == ["reserved", "confirmed", "all of it"]


def test_a_piece_that_cannot_be_drawn_is_drawn_later() -> None:
    pieces = iter([DatabaseUnavailable("away"), DatabaseUnavailable("away"), Piece(html="back again")])
    assert _said(pieces, is_whole=True) == ["back again", "over"]
