"""The feed: one question for all streams, to each its own news, and no thread without a stream."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from harness.waiting import wait_until

from gateway.feed import MOST_EVENTS, MOST_STREAMS, MOST_STREAMS_EACH, Feed, News, Stream
from gateway.request_errors import TooManyStreams
from gateway.services import ServiceUnavailable

PATIENCE_S = 20.0


def event(seq: int) -> dict[str, Any]:
    return {"seq": seq, "eventId": f"e{seq}", "type": f"TYPE_{seq}"}


def said(*seqs: int, status: str = "PENDING", is_whole: bool = False) -> dict[str, Any]:
    return {
        "order": {"id": "o", "status": status},
        "events": [event(seq) for seq in seqs],
        "isWhole": is_whole,
        "hasCheckedOut": is_whole,
    }


NOTHING = News.read(said(), after=0)


class OrderService:
    """Orders whose events the test writes; every question is remembered."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.questions: list[dict[str, int]] = []
        self.error: Exception | None = None

    def call(self, service: str, method: str, timeout_s: float | None = None, **kwargs: Any) -> Any:
        assert (service, method, kwargs.get("caller")) == ("order_service", "follow_orders", None)
        self.questions.append({wanted["orderId"]: wanted["after"] for wanted in kwargs["wanted"]})
        if self.error:
            raise self.error
        return [self._answer(**wanted) for wanted in kwargs["wanted"]]

    def _answer(self, orderId: str, after: int) -> dict[str, Any]:  # noqa: N803 -- as it is called there
        order = self.orders.get(orderId)
        if order is None:
            return {"error": {"code": "order_not_found", "message": "", "details": {}}}
        return {**order, "events": [event for event in order["events"] if event["seq"] > after]}


@pytest.fixture
def service() -> OrderService:
    return OrderService()


@pytest.fixture
def feed(service: OrderService) -> Any:
    feed = Feed(service)
    yield feed
    for stream in tuple(feed._streams):
        feed.close(stream)
    wait_until(lambda: not feed_threads(), "the feed's thread has ended")


def feed_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "feed"]


def open_stream(feed: Feed, order_id: str = "o", *, subject: str = "anna", after: int = 0) -> Stream:
    stream = feed.open(order_id=order_id, subject=subject, after=after, first=NOTHING)
    assert stream.next_news(0) == NOTHING
    return stream


def seqs(news: News | None) -> list[int]:
    assert news is not None
    return [event["seq"] for event in news.events]


class TestNews:
    def test_of_what_is_known_already_are_none(self) -> None:
        assert seqs(News.read(said(1, 2, 3), after=2)) == [3]

    def test_are_not_the_last_ones_where_there_may_be_more(self) -> None:
        assert News.read(said(1, is_whole=True), after=0).is_whole
        assert not News.read(said(*range(1, MOST_EVENTS + 1), is_whole=True), after=0).is_whole

    def test_are_told_once(self) -> None:
        stream = Stream(order_id="o", subject="anna", after=0)

        for answer in (said(1), said(1), said(1, 2), said(2, status="RESERVED")):
            stream.put(News.read(answer, after=stream.after))

        told = [stream.next_news(0) for _ in range(4)]
        assert [seqs(news) for news in told[:3]] == [[1], [2], []]
        assert told[2] is not None
        assert told[2].order["status"] == "RESERVED"
        assert told[3] is None


class TestFollowing:
    def test_each_stream_gets_what_it_does_not_know(self, feed: Feed, service: OrderService) -> None:
        service.orders["o"] = said(1, 2, 3)
        from_the_start, later = open_stream(feed), open_stream(feed, after=2)

        assert seqs(from_the_start.next_news(PATIENCE_S)) == [1, 2, 3]
        assert seqs(later.next_news(PATIENCE_S)) == [3]

    def test_one_question_for_all_of_them(self, feed: Feed, service: OrderService) -> None:
        for order_id, after in (("a", 5), ("a", 3), ("b", 7)):
            service.orders[order_id] = said(9)
            open_stream(feed, order_id, after=after)

        wait_until(lambda: {"a": 9, "b": 9} in service.questions, "everybody is up to date")

        assert all(len(question) <= 2 for question in service.questions)
        assert any(question.get("a") == 3 for question in service.questions)

    def test_what_happens_later_is_told_later(self, feed: Feed, service: OrderService) -> None:
        service.orders["o"] = said(1)
        stream = open_stream(feed)
        assert seqs(stream.next_news(PATIENCE_S)) == [1]

        service.orders["o"] = said(1, 2, status="CONFIRMED", is_whole=True)

        news = stream.next_news(PATIENCE_S)
        assert seqs(news) == [2]
        assert news is not None
        assert news.is_whole

    @pytest.mark.parametrize("error", [ServiceUnavailable("down"), KeyError("a bug")])
    def test_a_service_that_is_down_is_asked_again(self, feed: Feed, service: OrderService, error: Exception) -> None:
        service.error = error
        stream = open_stream(feed)
        wait_until(lambda: len(service.questions) >= 2, "it was asked twice")

        service.orders["o"] = said(1)
        service.error = None

        assert seqs(stream.next_news(PATIENCE_S)) == [1]

    def test_an_order_that_is_no_more_does_not_disturb_the_others(self, feed: Feed, service: OrderService) -> None:
        service.orders["o"] = said(1)
        gone, stream = open_stream(feed, "gone"), open_stream(feed)

        assert seqs(stream.next_news(PATIENCE_S)) == [1]
        assert gone.next_news(0) is None


class TestThread:
    def test_runs_only_while_somebody_watches(self, feed: Feed, service: OrderService) -> None:
        assert feed_threads() == []
        first, second = open_stream(feed), open_stream(feed)
        assert len(feed_threads()) == 1

        feed.close(first)
        feed.close(second)
        wait_until(lambda: not feed_threads(), "the thread has ended")

        service.orders["o"] = said(1)
        assert seqs(open_stream(feed).next_news(PATIENCE_S)) == [1]


class TestRoom:
    def test_there_is_room_for_so_many(self, feed: Feed) -> None:
        streams = [open_stream(feed, subject=f"s{number}") for number in range(MOST_STREAMS)]
        with pytest.raises(TooManyStreams):
            open_stream(feed, subject="another")

        feed.close(streams[0])
        feed.close(streams[0])

        open_stream(feed, subject="another")
        with pytest.raises(TooManyStreams):
            open_stream(feed, subject="yet another")

    def test_and_for_so_many_of_one(self, feed: Feed) -> None:
        for _ in range(MOST_STREAMS_EACH):
            open_stream(feed)
        with pytest.raises(TooManyStreams):
            open_stream(feed)
        open_stream(feed, subject="ben")

    def test_and_for_none_once_the_gateway_stops(self, service: OrderService) -> None:
        with pytest.raises(TooManyStreams):
            open_stream(Feed(service, is_stopping=lambda: True))

    def test_how_many_there_are_is_told(self, service: OrderService) -> None:
        changes: list[int] = []
        feed = Feed(service, on_change=changes.append)

        stream = open_stream(feed)
        feed.close(stream)
        feed.close(stream)

        assert changes == [1, -1]

    def test_a_stream_that_nobody_closed_is_forgotten_at_last(
        self, feed: Feed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.feed._FORGOTTEN_AFTER_S", -1.0)
        open_stream(feed)

        wait_until(lambda: len(feed) == 0, "it is forgotten")
