"""Orders placed together: what goes with whom, who is told what, and that nobody is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from harness.waiting import wait_until

from gateway.placing import MOST_CALLS, MOST_LINES, MOST_ORDERS, OrderPlacer
from gateway.services import CallTimedOut, OutcomeUnknown, ReplyLost, ServiceFailed, ServiceUnavailable
from shared.errors import DatabaseUnavailable, InvalidRequest, OrderSagaError, OutOfStock, UnknownItem
from shared.identity import TRUSTED, Identity, Role

ANNA = Identity(subject="anna", roles=frozenset({Role.USER}))
BEN = Identity(subject="ben", roles=frozenset({Role.USER}))

Entry = dict[str, Any]


def placed(entry: Entry) -> dict[str, Any]:
    return {"order": {"id": entry["idempotencyKey"]}, "replayed": False}


class HeldService:
    """Takes calls and answers each one only when the test says so."""

    def __init__(self) -> None:
        self.calls: list[list[Entry]] = []
        self.timeouts: list[float | None] = []
        self.callers: list[Identity | None] = []
        self._answers: list[Future[Any]] = []

    def call(
        self, service: str, method: str, timeout_s: float | None = None, caller: Identity | None = None, **kwargs: Any
    ) -> Any:
        assert (service, method) == ("order_service", "place_orders")
        self.callers.append(caller)
        self.timeouts.append(timeout_s)
        answer: Future[Any] = Future()
        self._answers.append(answer)
        self.calls.append(kwargs["orders"])
        return answer.result(timeout=30)

    def wait_for(self, calls: int) -> None:
        wait_until(lambda: len(self.calls) >= calls, f"{calls} calls")

    def answer(self, number: int, how: Callable[[Entry], Any] = placed) -> None:
        self._answers[number].set_result([how(entry) for entry in self.calls[number]])

    def answer_with(self, number: int, answer: Any) -> None:
        self._answers[number].set_result(answer)

    def fail(self, number: int, error: Exception) -> None:
        self._answers[number].set_exception(error)

    def keys(self, number: int) -> list[str]:
        return [entry["idempotencyKey"] for entry in self.calls[number]]


class Shop:
    """Customers who place orders at the same time, each in a thread."""

    def __init__(self, placer: OrderPlacer) -> None:
        self.placer = placer
        self._pool = ThreadPoolExecutor(300)

    def place(self, key: str, *, caller: Identity = ANNA, lines: int = 1) -> Future[dict[str, Any]]:
        order = {"items": [{"item": f"i{n}", "quantity": 1} for n in range(lines)]}
        return self._pool.submit(
            self.placer.place, order, idempotency_key=key, correlation_id=f"request of {key}", caller=caller
        )

    def place_in_turn(self, *keys: str, **options: Any) -> list[Future[dict[str, Any]]]:
        """Each waits before the next one comes."""
        futures = []
        for key in keys:
            before = self.placer.waiting
            futures.append(self.place(key, **options))
            wait_until(lambda before=before: self.placer.waiting == before + 1, f"{key} waits")  # type: ignore[misc]
        return futures

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def service() -> HeldService:
    return HeldService()


@pytest.fixture
def shop(service: HeldService) -> Any:
    shop = Shop(OrderPlacer(service, timeout_s=20.0))
    yield shop
    shop.close()


def all_calls_under_way(shop: Shop, service: HeldService) -> list[Future[dict[str, Any]]]:
    """As many single orders as there may be calls: whoever comes now has to wait."""
    first = []
    for number in range(MOST_CALLS):
        first.append(shop.place(f"first{number}"))
        service.wait_for(number + 1)
    return first


class TestGoingTogether:
    def test_an_order_that_is_alone_is_sent_at_once(self, shop: Shop, service: HeldService) -> None:
        order = shop.place("k")
        service.wait_for(1)
        service.answer(0)

        assert order.result(5) == {"order": {"id": "k"}, "replayed": False}
        assert service.calls == [
            [
                {
                    "order": {"items": [{"item": "i0", "quantity": 1}]},
                    "idempotencyKey": "k",
                    "correlationId": "request of k",
                    "identity": ANNA.header(),
                }
            ]
        ]
        assert service.callers == [None]

    def test_what_arrives_meanwhile_goes_with_the_next_call(self, shop: Shop, service: HeldService) -> None:
        first = all_calls_under_way(shop, service)
        later = shop.place_in_turn("a", "b", "c")

        service.answer(0)
        service.wait_for(MOST_CALLS + 1)

        assert service.keys(MOST_CALLS) == ["a", "b", "c"]
        service.answer(1)
        service.answer(MOST_CALLS)
        assert [order.result(5)["order"]["id"] for order in later] == ["a", "b", "c"]
        assert [order.result(5)["order"]["id"] for order in first] == ["first0", "first1"]

    def test_there_are_limits_to_what_goes_together(self, shop: Shop, service: HeldService) -> None:
        all_calls_under_way(shop, service)
        orders = [shop.place(f"k{number}") for number in range(MOST_ORDERS + 1)]
        wait_until(lambda: shop.placer.waiting == MOST_ORDERS + 1, "all wait")

        service.answer(0)
        service.wait_for(MOST_CALLS + 1)
        assert len(service.keys(MOST_CALLS)) == MOST_ORDERS
        service.answer(1)
        service.wait_for(MOST_CALLS + 2)
        assert len(service.keys(MOST_CALLS + 1)) == 1

        service.answer(MOST_CALLS)
        service.answer(MOST_CALLS + 1)
        assert {order.result(5)["order"]["id"] for order in orders} == {f"k{n}" for n in range(MOST_ORDERS + 1)}

    def test_large_orders_count_by_their_lines(self, shop: Shop, service: HeldService) -> None:
        all_calls_under_way(shop, service)
        orders = shop.place_in_turn("a", "b", "c", lines=MOST_LINES // 2)

        service.answer(0)
        service.wait_for(MOST_CALLS + 1)
        service.answer(1)
        service.wait_for(MOST_CALLS + 2)

        assert [service.keys(MOST_CALLS), service.keys(MOST_CALLS + 1)] == [["a", "b"], ["c"]]
        service.answer(MOST_CALLS)
        service.answer(MOST_CALLS + 1)
        assert all(order.result(5) for order in orders)

    def test_each_goes_in_the_name_of_its_own_customer(self, shop: Shop, service: HeldService) -> None:
        first = all_calls_under_way(shop, service)
        later = [
            *shop.place_in_turn("a"),
            *shop.place_in_turn("b", caller=BEN),
            *shop.place_in_turn("c", caller=TRUSTED),
        ]
        service.answer(0)
        service.wait_for(MOST_CALLS + 1)

        identities = [entry.get("identity") for entry in service.calls[MOST_CALLS]]
        assert identities == [ANNA.header(), BEN.header(), None]
        service.answer(1)
        service.answer(MOST_CALLS)
        assert all(order.result(5) for order in (*first, *later))


class TestKeys:
    def test_a_key_goes_with_one_call_at_a_time(self, shop: Shop, service: HeldService) -> None:
        """Sent twice at once, the second one would be told that its own first one is still running."""
        first = shop.place("same")
        service.wait_for(1)
        [again] = shop.place_in_turn("same")
        other = shop.place("other")
        service.wait_for(2)
        assert service.keys(1) == ["other"]

        service.answer(0)
        service.wait_for(3)
        service.answer(2, lambda entry: placed(entry) | {"replayed": True})
        service.answer(1)

        assert (first.result(5)["replayed"], again.result(5)["replayed"]) == (False, True)
        assert other.result(5)["order"]["id"] == "other"

    def test_also_where_both_wait(self, shop: Shop, service: HeldService) -> None:
        all_calls_under_way(shop, service)
        orders = shop.place_in_turn("same", "same", "other")

        service.answer(0)
        service.wait_for(MOST_CALLS + 1)
        service.answer(MOST_CALLS)
        service.wait_for(MOST_CALLS + 2)
        service.answer(MOST_CALLS + 1)
        service.answer(1)

        assert [service.keys(MOST_CALLS), service.keys(MOST_CALLS + 1)] == [["same", "other"], ["same"]]
        assert all(order.result(5) for order in orders)

    def test_the_same_key_of_two_customers_is_two_keys(self, shop: Shop, service: HeldService) -> None:
        all_calls_under_way(shop, service)
        orders = [*shop.place_in_turn("same"), *shop.place_in_turn("same", caller=BEN)]

        service.answer(0)
        service.wait_for(MOST_CALLS + 1)

        assert service.keys(MOST_CALLS) == ["same", "same"]
        service.answer(1)
        service.answer(MOST_CALLS)
        assert all(order.result(5) for order in orders)


class TestRefusals:
    def test_reach_the_one_whose_order_it_is(self, shop: Shop, service: HeldService) -> None:
        all_calls_under_way(shop, service)
        bad, good = shop.place_in_turn("bad", "good")
        service.answer(0)
        service.answer(1)
        service.wait_for(MOST_CALLS + 1)

        refusal = {"error": {"code": "unknown_item", "message": "no mug", "details": {"items": ["mug"]}}}
        service.answer(MOST_CALLS, lambda entry: refusal if entry["idempotencyKey"] == "bad" else placed(entry))

        with pytest.raises(UnknownItem, match="no mug") as raised:
            bad.result(5)
        assert raised.value.details == {"items": ["mug"]}
        assert good.result(5)["order"]["id"] == "good"

    @pytest.mark.parametrize(
        "answer",
        [
            {"error": {"code": "never_heard_of", "message": "secret", "details": {}}},
            {"error": {"code": None}},
            {"error": "text"},
            "text",
            None,
        ],
    )
    def test_that_nobody_knows_are_a_failure(self, shop: Shop, service: HeldService, answer: Any) -> None:
        order = shop.place("k")
        service.wait_for(1)
        service.answer_with(0, [answer])

        assert isinstance(order.exception(5), ServiceFailed)

    def test_odd_words_of_a_known_one_do_no_harm(self, shop: Shop, service: HeldService) -> None:
        order = shop.place("k")
        service.wait_for(1)
        service.answer_with(0, [{"error": {"code": "out_of_stock", "message": 5, "details": []}}])

        error = order.exception(5)
        assert isinstance(error, OutOfStock)
        assert error.details == {}


class TestFailures:
    @pytest.mark.parametrize(
        "error", [ServiceUnavailable("no broker"), CallTimedOut("late"), ReplyLost("gone"), DatabaseUnavailable("down")]
    )
    def test_of_the_call_reach_everybody_in_it(self, shop: Shop, service: HeldService, error: OrderSagaError) -> None:
        all_calls_under_way(shop, service)
        orders = shop.place_in_turn("a", "b", "c")
        service.answer(0)
        service.answer(1)
        service.wait_for(MOST_CALLS + 1)

        service.fail(MOST_CALLS, error)

        raised = [order.exception(5) for order in orders]
        assert [(type(each), str(each)) for each in raised] == [(type(error), str(error))] * 3
        assert len(service.calls) == MOST_CALLS + 1

    @pytest.mark.parametrize("trouble", [ServiceFailed("KeyError"), InvalidRequest("odd"), [1, 2, 3, 4], {}, None])
    def test_that_one_order_may_have_caused_do_not_harm_those_beside_it(
        self, shop: Shop, service: HeldService, trouble: Any
    ) -> None:
        all_calls_under_way(shop, service)
        good, bad, fine = shop.place_in_turn("good", "bad", "fine")
        service.answer(0)
        service.answer(1)
        service.wait_for(MOST_CALLS + 1)
        if isinstance(trouble, Exception):
            service.fail(MOST_CALLS, trouble)
        else:
            service.answer_with(MOST_CALLS, trouble)

        for number, key in enumerate(("good", "bad", "fine"), start=MOST_CALLS + 1):
            service.wait_for(number + 1)
            assert service.keys(number) == [key]
            if key == "bad":
                service.fail(number, ServiceFailed("KeyError"))
            else:
                service.answer(number)

        assert [good.result(5)["order"]["id"], fine.result(5)["order"]["id"]] == ["good", "fine"]
        assert isinstance(bad.exception(5), ServiceFailed)

    def test_a_bug_of_ours_leaves_nobody_waiting(self, shop: Shop, service: HeldService) -> None:
        all_calls_under_way(shop, service)
        orders = shop.place_in_turn("a", "b")
        service.answer(0)
        service.answer(1)
        service.wait_for(MOST_CALLS + 1)

        service.fail(MOST_CALLS, KeyError("ours"))

        assert {type(order.exception(5)) for order in orders} == {KeyError, ServiceFailed}
        after = shop.place("after")
        service.wait_for(MOST_CALLS + 2)
        service.answer(MOST_CALLS + 1)
        assert after.result(5)["order"]["id"] == "after"


class TestDeadlines:
    def test_who_was_not_sent_in_time_is_not_sent(self, service: HeldService) -> None:
        patient = Shop(OrderPlacer(service, timeout_s=0.4))
        first = all_calls_under_way(patient, service)
        [late] = patient.place_in_turn("late")

        assert isinstance(late.exception(5), ServiceUnavailable)
        assert patient.placer.waiting == 0
        for number in range(MOST_CALLS):
            service.answer(number)
        patient.close()
        assert [order.result(5)["order"]["id"] for order in first] == ["first0", "first1"]
        assert len(service.calls) == MOST_CALLS

    def test_who_was_sent_may_have_placed_an_order(self, service: HeldService) -> None:
        """The call goes on as long as anybody in it has time; the others hear what is certain: nothing."""
        placer = OrderPlacer(service, timeout_s=1.0)
        shop = Shop(placer)
        all_calls_under_way(shop, service)
        old, young = shop.place_in_turn("old", "young")
        service.answer(0)
        service.wait_for(MOST_CALLS + 1)
        assert service.timeouts[MOST_CALLS] is not None

        assert isinstance(old.exception(5), CallTimedOut)
        service.fail(MOST_CALLS, CallTimedOut("late"))
        assert isinstance(young.exception(5), OutcomeUnknown)
        service.answer(1)
        shop.close()

    def test_a_call_takes_as_long_as_its_youngest_has_time(self, shop: Shop, service: HeldService) -> None:
        order = shop.place("k")
        service.wait_for(1)
        service.answer(0)
        order.result(5)

        assert service.timeouts[0] is not None
        assert 19.0 < service.timeouts[0] <= 20.0


class BusyService:
    """Answers as soon as somebody waits for the next call, or nobody else will come; every tenth answer is lost."""

    def __init__(self, is_worth_answering: Callable[[], bool]) -> None:
        self.sizes: list[int] = []
        self.most_at_once = 0
        self._is_worth_answering = is_worth_answering
        self._lock = threading.Lock()
        self._at_once = 0

    def call(self, service: str, method: str, timeout_s: float | None = None, **kwargs: Any) -> Any:
        entries = kwargs["orders"]
        number = self._begin(len(entries))
        wait_until(self._is_worth_answering, "somebody waits")
        with self._lock:
            self._at_once -= 1
        keys = {(entry["identity"], entry["idempotencyKey"]) for entry in entries}
        assert len(keys) == len(entries)
        if number % 10 == 0:
            raise ReplyLost("gone")
        return [placed(entry) for entry in entries]

    def _begin(self, size: int) -> int:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.sizes.append(size)
            return len(self.sizes)


def test_under_load_everybody_gets_their_own_answer() -> None:
    """Given dozens at a time, some with each other's keys, some calls lost."""
    count, begun = 1_500, []
    busy = BusyService(lambda: placer.waiting > 0 or len(begun) == count)
    sizes: list[int] = []
    placer = OrderPlacer(busy, timeout_s=20.0, on_batch=sizes.append)

    def place(number: int) -> str:
        key = f"k{number % 150}"
        begun.append(number)
        try:
            answer = placer.place({"items": [1]}, idempotency_key=key, correlation_id="r", caller=ANNA)
        except ReplyLost:
            return "lost"
        return "right" if answer["order"]["id"] == key else "wrong"

    with ThreadPoolExecutor(64) as pool:
        said = list(pool.map(place, range(count)))

    assert set(said) == {"right", "lost"}
    assert busy.sizes == sizes
    assert sum(sizes) == count
    assert busy.most_at_once == MOST_CALLS
    assert max(sizes) > 1
    assert placer.waiting == 0
