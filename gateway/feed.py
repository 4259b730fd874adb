"""What happens to the orders that somebody watches: asked for once for all of them, handed to each stream.

Owns: the streams of this process, how many there may be, and the one thread that asks while there are any.
Must not know: HTTP. A stream's first question is not asked here, for that one decides whether its caller may see it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.request_errors import TooManyStreams
from gateway.services import ORDER_SERVICE, Services
from shared.errors import OrderSagaError
from shared.logs import get_logger

log = get_logger(__name__)

ASK_EVERY_S = 0.2
ASK_TIMEOUT_S = 2.0
MOST_STREAMS = 24
MOST_STREAMS_EACH = 6
LONGEST_LIFE_S = 300.0
# A stream that was never closed, whatever the reason, does not take a place for ever.
_FORGOTTEN_AFTER_S = LONGEST_LIFE_S + 30.0
MOST_EVENTS = 500
"""As many as the order service gives at once: there may be more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """What the order service said of one order: as it is now, and the events after the last one known."""

    order: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    is_whole: bool
    has_checked_out: bool

    @classmethod
    def read(cls, said: Mapping[str, Any], *, after: int) -> News:
        events = tuple(event for event in said["events"] if event["seq"] > after)
        # Not over yet where more is to be fetched.
        is_all = len(said["events"]) < MOST_EVENTS
        return cls(
            order=said["order"],
            events=events,
            is_whole=is_all and bool(said["isWhole"]),
            has_checked_out=is_all and bool(said["hasCheckedOut"]),
        )

    def last_seq(self, before: int) -> int:
        return max((event["seq"] for event in self.events), default=before)


class Stream:
    """One who watches one order. ``next_news`` is for its own thread, ``put`` for the feed's."""

    def __init__(self, *, order_id: str, subject: str, after: int) -> None:
        self.order_id = order_id
        self.subject = subject
        self.after = after
        self.opened_s = time.monotonic()
        self._news: deque[News] = deque()
        self._said: tuple[Any, ...] = ()
        self._changed = threading.Condition()

    def put(self, news: News) -> None:
        self.after = news.last_seq(self.after)
        state = (news.order, news.is_whole, news.has_checked_out)
        if not news.events and state == self._said:
            return
        self._said = state
        with self._changed:
            self._news.append(news)
            self._changed.notify()

    def next_news(self, patience_s: float) -> News | None:
        """None if nothing happened for so long."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._news), patience_s)
            return self._news.popleft() if self._news else None


class Feed:
    """All streams of this process."""

    def __init__(
        self,
        client: Services,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        on_change: Callable[[int], None] = lambda _change: None,
    ) -> None:
        self.is_stopping = is_stopping
        self._client = client
        self._on_change = on_change
        self._lock = threading.Lock()
        self._streams: set[Stream] = set()
        self._thread: threading.Thread | None = None
        self._answered = True

    def __len__(self) -> int:
        return len(self._streams)

    def open(self, *, order_id: str, subject: str, after: int, first: News) -> Stream:
        """Followed from ``first`` on, until ``close``. Raises TooManyStreams."""
        stream = Stream(order_id=order_id, subject=subject, after=after)
        stream.put(first)
        with self._lock:
            self._require_room(subject)
            self._streams.add(stream)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
                self._thread.start()
        self._on_change(1)
        return stream

    def close(self, stream: Stream) -> None:
        """Safe to repeat."""
        with self._lock:
            was_open = stream in self._streams
            self._streams.discard(stream)
        if was_open:
            self._on_change(-1)

    def _require_room(self, subject: str) -> None:
        if self.is_stopping():
            raise TooManyStreams("This gateway is about to stop; another one will take over")
        if len(self._streams) >= MOST_STREAMS:
            raise TooManyStreams("Too many streams are open; ask for the order again and again instead")
        if sum(stream.subject == subject for stream in self._streams) >= MOST_STREAMS_EACH:
            raise TooManyStreams(f"You have {MOST_STREAMS_EACH} streams open already")

    # In the feed's own thread

    def _run(self) -> None:
        while streams := self._open_streams():
            self._ask(streams)
            time.sleep(ASK_EVERY_S)

    def _open_streams(self) -> tuple[Stream, ...]:
        """None left: the thread ends, and the next stream starts another one."""
        oldest_s = time.monotonic() - _FORGOTTEN_AFTER_S
        with self._lock:
            streams = tuple(self._streams)
            if not streams:
                self._thread = None
        for stream in streams:
            if stream.opened_s < oldest_s:
                self.close(stream)
        return streams

    def _ask(self, streams: Iterable[Stream]) -> None:
        try:
            self._follow(streams)
        except OrderSagaError as error:
            # Its streams go on with their keep-alives and hear the rest later.
            if self._answered:
                log.warning("feed_unanswered", code=error.code)
            self._answered = False
        except Exception:
            # Whatever it was must not end the thread: the streams would be silent for ever.
            log.exception("feed_broke")
        else:
            self._answered = True

    def _follow(self, streams: Iterable[Stream]) -> None:
        watching: dict[str, list[Stream]] = {}
        for stream in streams:
            watching.setdefault(stream.order_id, []).append(stream)
        wanted = [{"orderId": id_, "after": min(s.after for s in its)} for id_, its in watching.items()]
        answers = self._client.call(ORDER_SERVICE, "follow_orders", timeout_s=ASK_TIMEOUT_S, wanted=wanted)
        for its, said in zip(watching.values(), answers, strict=True):
            if "error" not in said:
                for stream in its:
                    stream.put(News.read(said, after=stream.after))
