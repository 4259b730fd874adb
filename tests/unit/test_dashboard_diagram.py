"""The drawing of a saga: who stands where, which arrow goes from whom to whom, what was undone, who is awaited."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from gateway.dashboard.diagram import LANES, Arrow, Diagram, draw
from shared.choreography import Choreography, load_choreography

PEOPLE, ORDER, INVENTORY, PAYMENT = (name for name, _ in LANES)
OF_STATUS = {"ORDER_CREATED": "PENDING", "INVENTORY_RESERVED": "RESERVED", "ORDER_CANCELLED": "CANCELLED"}

contract = cache(load_choreography)


def event(event_type: str, second: float, cause: str | None = None, **more: Any) -> dict[str, Any]:
    """Its id is its type: each happens once here."""
    return {
        "eventId": event_type,
        "type": event_type,
        "source": f"{event_type.split('_')[0].lower()}_service",
        "causationId": cause,
        "at": f"2026-01-01T12:00:{second:06.3f}+00:00",
        "note": None,
        **more,
    }


def drawn(*events: dict[str, Any], **order: Any) -> Diagram:
    history = [
        {"status": OF_STATUS[one["type"]], "eventId": one["eventId"]} for one in events if one["type"] in OF_STATUS
    ]
    told = {"timeline": list(events), "history": history, "waitsFor": "nobody", "step": "done", "deadlineAt": None}
    return draw({**told, **order}, contract())


def lane(x: int) -> str:
    places = {place: name for (name, _), (_, place) in zip(LANES, drawn().lanes, strict=True)}
    return places[x]


def told(arrow: Arrow) -> tuple[str, str, set[str], str]:
    """(label, from whom, to whom, kind)"""
    return arrow.label, lane(arrow.from_x), {lane(x) for x in arrow.to_xs}, arrow.kind


PLACED = event("ORDER_CREATED", 0)
RESERVED = event("INVENTORY_RESERVED", 0.25, "ORDER_CREATED")
PAID = event("PAYMENT_SUCCESS", 1.75, "INVENTORY_RESERVED")
DECLINED = event("PAYMENT_FAILED", 0.5, "INVENTORY_RESERVED", note="insufficient_funds")
CANCELLED = event("ORDER_CANCELLED", 0.6, "PAYMENT_FAILED")
GIVEN_BACK = event("INVENTORY_REFUNDED", 0.7, "ORDER_CANCELLED")


class TestLanes:
    def test_people_and_each_service_have_one_from_left_to_right(self) -> None:
        titles = [title for title, _ in drawn().lanes]
        places = [x for _, x in drawn().lanes]
        assert titles == ["Customer, seller", "Order", "Inventory", "Payment"]
        assert places == sorted(set(places))
        assert max(places) < drawn().width

    def test_each_row_is_below_the_one_before_and_inside_the_drawing(self) -> None:
        diagram = drawn(PLACED, RESERVED, PAID)
        rows = [arrow.y for arrow in diagram.arrows]
        assert rows == sorted(set(rows))
        assert diagram.top < rows[0]
        assert rows[-1] < diagram.bottom < diagram.height

    def test_more_rows_need_more_height(self) -> None:
        assert (
            drawn(PLACED).height < drawn(PLACED, RESERVED).height < drawn(PLACED, RESERVED, waitsFor="payment").height
        )


class TestArrows:
    def test_go_from_the_publisher_to_every_consumer_of_the_contract(self) -> None:
        asked, placed, reserved, paid = (told(arrow) for arrow in drawn(PLACED, RESERVED, PAID).arrows)
        assert asked == ("place", PEOPLE, {ORDER}, "asked")
        assert placed == ("ORDER_CREATED", ORDER, {INVENTORY}, "forward")
        assert reserved == ("INVENTORY_RESERVED", INVENTORY, {ORDER, PAYMENT}, "forward")
        assert paid == ("PAYMENT_SUCCESS", PAYMENT, consumers("PAYMENT_SUCCESS"), "forward")

    def test_an_event_that_nobody_consumes_has_no_arrow_and_its_label_beside_its_lane(self) -> None:
        (confirmed,) = drawn(event("ORDER_CONFIRMED", 2, "PAYMENT_SUCCESS")).arrows
        assert told(confirmed) == ("ORDER_CONFIRMED", ORDER, set(), "forward")
        assert confirmed.from_x < confirmed.label_x < dict(drawn().lanes)["Inventory"]

    def test_a_label_stands_between_the_publisher_and_its_nearest_consumer(self) -> None:
        reserved = drawn(PLACED, RESERVED).arrows[-1]
        nearest = min(abs(x - reserved.from_x) for x in reserved.to_xs)
        assert 0 < abs(reserved.label_x - reserved.from_x) < nearest

    def test_say_how_long_after_their_cause_and_what_became_of_the_order(self) -> None:
        _, placed, reserved, paid = drawn(PLACED, RESERVED, PAID).arrows
        assert [arrow.after_s for arrow in (placed, reserved, paid)] == [None, 0.25, 1.5]
        assert [arrow.status for arrow in (placed, reserved, paid)] == ["PENDING", "RESERVED", None]

    def test_a_clock_that_is_behind_makes_no_time_before_the_cause(self) -> None:
        early = event("INVENTORY_RESERVED", 0, "ORDER_CREATED")
        assert drawn(event("ORDER_CREATED", 5), early).arrows[-1].after_s == 0

    def test_an_event_of_a_later_release_is_shown_without_an_arrow(self) -> None:
        (strange,) = drawn(event("PAYMENT_DISPUTED", 1, "PAYMENT_SUCCESS")).arrows
        assert told(strange) == ("PAYMENT_DISPUTED", PAYMENT, set(), "forward")


class TestWhatPeopleAsked:
    @pytest.mark.parametrize(
        ("type_", "words"),
        [
            ("ORDER_CREATED", "place"),
            ("ORDER_APPROVED", "approve"),
            ("ORDER_FULFILLED", "ship"),
            ("ORDER_RETURNED", "return"),
        ],
    )
    def test_is_a_row_of_its_own_before_what_came_of_it(self, type_: str, words: str) -> None:
        first, second = drawn(event(type_, 1)).arrows
        assert told(first) == (words, PEOPLE, {ORDER}, "asked")
        assert second.label == type_
        assert first.y < second.y

    def test_a_request_that_only_the_order_keeps_is_such_a_row_with_its_time(self) -> None:
        request = event("FULFILMENT_REQUESTED", 1, source="order_service")
        ship, shipped = drawn(request, event("ORDER_FULFILLED", 1.5, "FULFILMENT_REQUESTED")).arrows
        assert told(ship) == ("ship", PEOPLE, {ORDER}, "asked")
        assert ship.at == request["at"]
        assert told(shipped) == ("ORDER_FULFILLED", ORDER, {INVENTORY}, "forward")
        assert shipped.after_s == 0.5

    @pytest.mark.parametrize(
        ("reason", "words"), [("customer", "cancel"), ("seller", "decline"), ("operator", "cancel (operator)")]
    )
    def test_a_cancellation_says_who_wanted_it(self, reason: str, words: str) -> None:
        asked, _ = drawn(event("ORDER_CANCELLED", 1, payload={"reason": reason})).arrows
        assert asked.label == words

    def test_what_a_timer_or_an_event_brought_about_nobody_asked_for(self) -> None:
        for cancelled in (CANCELLED, event("ORDER_CANCELLED", 1, payload={"reason": "timeout"})):
            assert [arrow.label for arrow in drawn(cancelled).arrows] == ["ORDER_CANCELLED"]


class TestCompensation:
    def test_a_failure_and_what_undoes_it_are_kinds_of_their_own(self) -> None:
        *_, declined, cancelled, given_back = (
            told(arrow) for arrow in drawn(PLACED, RESERVED, DECLINED, CANCELLED, GIVEN_BACK).arrows
        )
        assert declined == ("PAYMENT_FAILED", PAYMENT, consumers("PAYMENT_FAILED"), "failure")
        assert cancelled == ("ORDER_CANCELLED", ORDER, {INVENTORY, PAYMENT}, "compensation")
        assert given_back == ("INVENTORY_REFUNDED", INVENTORY, consumers("INVENTORY_REFUNDED"), "compensation")

    def test_the_reason_stands_with_the_failure(self) -> None:
        assert drawn(PLACED, RESERVED, DECLINED).arrows[-1].note == "insufficient_funds"

    def test_every_event_that_takes_something_back_is_one(self) -> None:
        for type_ in ("PAYMENT_REFUNDED", "PAYMENT_CANCELLED", "INVENTORY_REFUNDED"):
            assert drawn(event(type_, 1, "ORDER_CANCELLED")).arrows[0].kind == "compensation", type_

    def test_what_came_too_late_to_matter_is_ignored_whatever_it_says(self) -> None:
        late = event("PAYMENT_FAILED", 3, "INVENTORY_RESERVED", decision="ignored")
        assert drawn(late).arrows[0].kind == "ignored"


class TestWaiting:
    @pytest.mark.parametrize(
        ("turn", "where"),
        [("customer", PEOPLE), ("seller", PEOPLE), ("inventory", INVENTORY), ("payment", PAYMENT)],
    )
    def test_stands_below_the_last_row_on_the_lane_whose_turn_it_is(self, turn: str, where: str) -> None:
        diagram = drawn(PLACED, waitsFor=turn, step="answer", deadlineAt="2026-01-01T12:15:00Z")
        assert diagram.awaited is not None
        assert lane(diagram.awaited.x) == where
        assert diagram.awaited.label == "waits for answer"
        assert diagram.awaited.until == "2026-01-01T12:15:00Z"
        assert diagram.arrows[-1].y < diagram.awaited.y < diagram.height

    def test_without_a_deadline_it_is_said_without_one(self) -> None:
        diagram = drawn(PLACED, waitsFor="seller", step="shipment")
        assert diagram.awaited is not None
        assert diagram.awaited.until is None

    def test_nobody_is_awaited_once_it_has_ended(self) -> None:
        assert drawn(PLACED, RESERVED, PAID).awaited is None


def test_the_list_beside_the_drawing_says_the_same_in_words() -> None:
    assert [arrow.words for arrow in drawn(PLACED, RESERVED).arrows] == ["place", "order created", "inventory reserved"]


def consumers(event_type: str) -> set[str]:
    choreography: Choreography = contract()
    return {consumer.service for consumer in choreography.events[event_type].consumers}
