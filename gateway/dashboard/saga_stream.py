"""An order's page, live: the feed of the API, with pieces of the page for messages.

Owns: when a piece is sent, and how it looks on the wire. Must not know: what the piece shows.

Each message is the whole live part as it is now: whoever missed some has missed nothing. One in which a service did not
have its say is drawn again until it has: no news may come that would bring the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response, request

from gateway.access import caller
from gateway.feed import News
from gateway.live import CONTENT_TYPE, EventStream, feed_of_this_process, first_news
from gateway.serving.presence import is_gone
from shared.errors import OrderSagaError
from shared.logs import get_logger

log = get_logger(__name__)

AGAIN_AFTER_S = 2.0
_END = b"event: end\ndata: over\n\n"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The live part of the page. ``silent``: services that did not answer, of which it shows what the order knows."""

    html: str
    silent: tuple[str, ...] = ()


def saga_stream(order_id: str, piece: Callable[[], Piece]) -> Response:
    """``piece`` makes the live part, outside this request. Raises what the first question raises."""
    news = first_news(order_id, after=0)
    feed = feed_of_this_process()
    stream = feed.open(order_id=order_id, subject=caller().subject, after=0, first=news)
    client = request.environ.get("gunicorn.socket")
    body = _Pieces(feed, stream, piece, is_gone=lambda: is_gone(client))
    return Response(body, content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


class _Pieces(EventStream):
    def __init__(self, feed: Any, stream: Any, piece: Callable[[], Piece], **options: Any) -> None:
        super().__init__(feed, stream, until_whole=True, **options)
        self._piece = piece
        self._silent: tuple[str, ...] = ()
        self._again_at_s: float | None = None
        self._is_last = False
        self._has_failed = False

    def _messages(self, news: News) -> bytes:
        self._is_last = news.is_whole
        return self._drawn() or b": nothing new\n\n"

    def _without_news(self) -> bytes:
        if self._again_at_s is None or time.monotonic() < self._again_at_s:
            return b""
        return self._drawn(unless_silent=self._silent)

    def _drawn(self, unless_silent: tuple[str, ...] | None = None) -> bytes:
        """Nothing if it cannot be drawn now: the page stays as it is. Nor if the same services are still silent."""
        self._again_at_s = time.monotonic() + AGAIN_AFTER_S
        try:
            piece = self._piece()
        except OrderSagaError as error:
            if not self._has_failed:
                log.warning("piece_not_made", code=error.code)
            # Whatever comes next is newer than what the page shows.
            self._has_failed, self._silent = True, ()
            return b""
        self._has_failed, self._silent = False, piece.silent
        if piece.silent:
            return b"" if piece.silent == unless_silent else _message(piece.html)
        self._again_at_s = None
        self._is_over = self._is_last
        return _message(piece.html) + (_END if self._is_last else b"")


def _message(html: str) -> bytes:
    lines = "\n".join(f"data: {line}" for line in html.splitlines())
    return f"event: saga\n{lines}\n\n".encode()
