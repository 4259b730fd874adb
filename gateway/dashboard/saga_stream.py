"""An order's page, live: the feed of the API, with pieces of the page for messages.

Owns: when a piece is sent, and how it looks on the wire. Must not know: what the piece shows.

Each message is the whole live part as it is now: whoever missed some has missed nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, request

from gateway.access import caller
from gateway.feed import News
from gateway.live import CONTENT_TYPE, EventStream, feed_of_this_process, first_news
from gateway.serving.presence import is_gone
from shared.errors import OrderSagaError
from shared.logs import get_logger

log = get_logger(__name__)

_END = b"event: end\ndata: over\n\n"


def saga_stream(order_id: str, piece: Callable[[], str]) -> Response:
    """``piece`` makes the live part, outside this request. Raises what the first question raises."""
    news = first_news(order_id, after=0)
    feed = feed_of_this_process()
    stream = feed.open(order_id=order_id, subject=caller().subject, after=0, first=news)
    client = request.environ.get("gunicorn.socket")
    body = _Pieces(feed, stream, piece, is_gone=lambda: is_gone(client))
    return Response(body, content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


class _Pieces(EventStream):
    def __init__(self, feed: Any, stream: Any, piece: Callable[[], str], **options: Any) -> None:
        super().__init__(feed, stream, until_whole=True, **options)
        self._piece = piece

    def _messages(self, news: News) -> bytes:
        try:
            message = _message(self._piece())
        except OrderSagaError as error:
            # The page stays as it is; the next news brings all of it.
            log.warning("piece_not_made", code=error.code)
            return b": nothing new\n\n"
        if news.is_whole:
            self._is_over = True
            message += _END
        return message


def _message(html: str) -> bytes:
    lines = "\n".join(f"data: {line}" for line in html.splitlines())
    return f"event: saga\n{lines}\n\n".encode()
