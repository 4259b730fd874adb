"""Which dead letters are meant, which is which, and what one step of a redrive sees and sends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pika
import pytest
from flask.testing import FlaskClient
from harness.login import client_of
from harness.services import FakeServices

from gateway.admin.desk import register_desk
from gateway.admin.selecting import Wanted, select, storable
from shared.errors import BrokerUnavailable
from shared.messaging.dead_letters import Stop
from shared.messaging.fingerprints import fingerprint, identity, inbox_id
from shared.messaging.hands import Glimpse
from shared.messaging.letters import Letter

QUEUE = "inventory_service.ORDER_CREATED"
OTHER = "order_service.PAYMENT_FAILED"
RUN = "01a21672-4c88-76b2-8f84-f0a60e1e06d6"
ADVANCE = f"/api/v1/admin/redrives/{RUN}/advance"
ORDER = "01a214ee-bc8e-72a8-afa8-ffc5d434af6e"
FAILED = {"x-error-code": "invalid_payload", "x-failed-at": "2026-01-01T12:00:00+00:00", "x-attempts": 1}


def letter(body: bytes = b"{}", headers: Mapping[str, Any] = FAILED, **properties: Any) -> Letter:
    return Letter(body=body, properties=pika.BasicProperties(headers=dict(headers), **properties))


class TestWhichIsWhich:
    def test_looking_changes_nothing(self) -> None:
        sorted_and_counted = dict(sorted({**FAILED, "x-delivery-count": 7}.items(), reverse=True))

        assert fingerprint(letter(headers=sorted_and_counted)) == fingerprint(letter())

    @pytest.mark.parametrize(
        "another",
        [
            letter(b"[]"),
            letter(message_id="e"),
            letter(headers={**FAILED, "x-attempts": 2}),
            letter(headers={**FAILED, "x-failed-at": "2026-01-02T12:00:00+00:00"}),
        ],
    )
    def test_another_one_is_another(self, another: Letter) -> None:
        assert fingerprint(another) != fingerprint(letter())

    def test_failing_again_it_stays_the_same_event(self) -> None:
        before, again = letter(message_id="e"), letter(headers={**FAILED, "x-attempts": 3}, message_id="e")

        assert identity(before) == identity(again)
        assert identity(before) != identity(letter(message_id="f"))

    def test_its_consumer_keeps_it_under_its_id_or_one_made_of_its_content(self) -> None:
        assert inbox_id(letter(message_id=ORDER), "X") == UUID(ORDER)
        assert inbox_id(letter(), "X") == inbox_id(letter(), "X") != inbox_id(letter(), "Y")
        assert inbox_id(letter(message_id="\x00"), "X") is None
        assert inbox_id(letter(type="Y"), "X") is None


class Desk:
    """Holds what it is given, by queue."""

    def __init__(self, held: Mapping[str, Sequence[Letter]]) -> None:
        self.held = {queue: list(letters) for queue, letters in held.items()}
        self.sent: list[tuple[str, str]] = []
        self.stops: dict[int, Any] = {}

    def depths(self) -> dict[str, int | None]:
        return {queue: len(letters) for queue, letters in self.held.items()}

    def each(self, queue: str, see: Any) -> list[Any]:
        return [seen for one in self.held[queue] if (seen := see(one)) is not None]

    def unsendable(self, one: Letter, queue: str) -> Stop | None:
        origin = one.origin_queue or queue
        return None if origin in (QUEUE, OTHER) else Stop(code="unknown_origin", detail=origin)

    @contextmanager
    def in_hand(self, wanted: Mapping[str, Any]) -> Iterator[Desk]:
        self.wanted = wanted
        yield self

    def glimpses(self, queue: str) -> list[Glimpse]:
        return [
            Glimpse(
                fingerprint=fingerprint(one), identity=identity(one), reason=one.reason, error=one.error, letter=one
            )
            for one in self.held[queue]
        ]

    def copies(self, queue: str) -> Counter[str]:
        return Counter(glimpse.fingerprint for glimpse in self.glimpses(queue))

    def send(self, queue: str, print_: str, destination: str) -> Stop | None:
        stop = self.stops.get(len(self.sent))
        if isinstance(stop, Exception):
            raise stop
        self.sent.append((print_, destination))
        return stop


class TestSelecting:
    @pytest.mark.parametrize(
        ("wanted", "is_meant"),
        [
            ({}, True),
            ({"error": "invalid_payload"}, True),
            ({"error": "broken_rule"}, False),
            ({"text": ORDER}, True),
            ({"text": "req-1"}, True),
            ({"text": "event-1"}, True),
            ({"text": "event"}, False),
            ({"failedAfter": "2026-01-01T12:00:00+00:00"}, True),
            ({"failedAfter": "2026-01-01T12:00:01+00:00"}, False),
            ({"failedBefore": "2026-01-01T12:00:01+00:00"}, True),
            ({"failedBefore": "2026-01-01T12:00:00+00:00"}, False),
            ({"error": "invalid_payload", "text": "nobody"}, False),
        ],
    )
    def test_all_that_is_given_must_hold(self, wanted: dict[str, Any], is_meant: bool) -> None:
        one = letter(f'{{"id": "{ORDER}"}}'.encode(), message_id="event-1", correlation_id="req-1")

        assert Wanted.read(wanted).matches(one) is is_meant

    @pytest.mark.parametrize("failed_at", [None, "yesterday", 7])
    def test_what_does_not_say_when_it_failed_is_in_no_period(self, failed_at: Any) -> None:
        one = letter(headers={"x-failed-at": failed_at})

        assert not Wanted.read({"failedBefore": "2030-01-01T00:00:00+00:00"}).matches(one)

    def test_queues_by_consumer_and_event(self) -> None:
        assert Wanted(consumer="order_service").queues([QUEUE, OTHER]) == [OTHER]
        assert Wanted(event="ORDER_CREATED").queues([QUEUE, OTHER]) == [QUEUE]
        assert Wanted(queue=QUEUE, consumer="order_service").queues([QUEUE, OTHER]) == []

    def test_the_longest_dead_comes_first_with_what_names_it(self) -> None:
        late = letter(headers={**FAILED, "x-failed-at": "2026-02-01T12:00:00+00:00"}, message_id="late")
        nowhere = letter(headers={**FAILED, "x-origin-queue": "nobody.NOTHING\x00"}, message_id="odd\x00")
        desk: Any = Desk({QUEUE: [late], OTHER: [nowhere]})

        first, second = select(desk, Wanted())

        assert (second.event_id, second.queue, second.destination, second.unsendable) == ("late", QUEUE, QUEUE, None)
        assert first.event_id == "odd\ufffd"
        assert first.as_asked()["code"] == "unknown_origin"
        assert "\x00" not in first.destination

    def test_what_is_kept_can_be_kept(self) -> None:
        assert storable("a\x00\ud800") == "a\ufffd?"
        assert storable("x" * 1000) == "x" * 300
        assert storable("") is storable(None) is None


def work(number: int, one: Letter, state: str = "SELECTED", **said: Any) -> dict[str, Any]:
    return {
        "number": number,
        "state": state,
        "queue": QUEUE,
        "destination": QUEUE,
        "fingerprint": fingerprint(one),
        "identity": identity(one),
        "inboxId": ORDER,
        "known": None,
        **said,
    }


class TestOneStep:
    @pytest.fixture
    def services(self) -> FakeServices:
        services = FakeServices()
        services.answers["order_service.record_redrive"] = {"redrive": {"id": RUN}}
        services.answers["inventory_service.known_events"] = []
        return services

    def advance(self, services: FakeServices, desk: Desk, letters: list[Any], batch: list[int]) -> Any:
        client: FlaskClient = client_of(services)
        register_desk(client.application, desk)  # type: ignore[arg-type]
        told = {"redrive": {"id": RUN}, "step": None, "waitS": 0.0, "lease": "l-1", "letters": letters}
        services.answers["order_service.claim_redrive"] = told
        step = "send" if batch else "await_outcome"
        services.answers["order_service.plan_redrive"] = told | {"step": step, "lease": None, "batch": batch}
        return client.post(ADVANCE, json={})

    def said(self, services: FakeServices, method: str) -> Any:
        return [said for _, name, said in services.calls if name == method]

    def test_the_batch_is_sent_and_recorded(self, services: FakeServices) -> None:
        one, two = letter(message_id="1"), letter(message_id="2")
        desk = Desk({QUEUE: [one, two]})

        answer = self.advance(services, desk, [work(1, one), work(2, two)], [1])

        assert (answer.status_code, answer.get_json()["sent"]) == (200, 1)
        assert desk.sent == [(fingerprint(one), QUEUE)]
        [recorded] = self.said(services, "record_redrive")
        assert recorded["outcomes"] == [{"number": 1, "code": None, "detail": None}]

    def test_what_is_there_is_seen_and_twins_are_counted(self, services: FakeServices) -> None:
        """Given three letters that are the same to the byte, one of them sent, then the two that were not are there."""
        one = letter(message_id="1")
        letters = [work(1, one, "SENT"), work(2, one), work(3, one)]

        self.advance(services, Desk({QUEUE: [one, one]}), letters, [])

        [planned] = self.said(services, "plan_redrive")
        assert {sight["number"]: sight["isThere"] for sight in planned["sights"]} == {1: False, 2: True, 3: True}

    def test_a_new_dead_letter_of_the_same_event_is_a_failure_and_a_known_one_is_not(
        self, services: FakeServices
    ) -> None:
        one = letter(message_id="1")
        again = letter(headers={**FAILED, "x-attempts": 2, "x-error": "once more"}, message_id="1")
        desk = Desk({QUEUE: [again]})

        self.advance(services, desk, [work(1, one, "SENT")], [])
        self.advance(services, desk, [work(1, one, "SENT", known=[fingerprint(again)])], [])

        failed = [said["sights"][0]["failedAgain"] for said in self.said(services, "plan_redrive")]
        assert failed == ["once more", None]

    @pytest.mark.parametrize(
        ("answer", "is_applied"), [([ORDER], True), ([], False), (BrokerUnavailable("away"), None)]
    )
    def test_its_consumer_knows_whether_it_was_applied(
        self, services: FakeServices, answer: Any, is_applied: bool | None
    ) -> None:
        services.answers["inventory_service.known_events"] = answer

        self.advance(services, Desk({QUEUE: []}), [work(1, letter(), "SENT")], [])

        [planned] = self.said(services, "plan_redrive")
        assert planned["sights"][0]["isApplied"] is is_applied

    def test_a_broker_that_breaks_in_the_middle_leaves_the_rest_unspoken_of(self, services: FakeServices) -> None:
        ones = [letter(message_id=str(number)) for number in range(3)]
        desk = Desk({QUEUE: ones})
        desk.stops[1] = BrokerUnavailable("gone")

        answer = self.advance(services, desk, [work(n, one) for n, one in enumerate(ones)], [0, 1, 2])

        assert (answer.status_code, answer.get_json()["code"]) == (503, "broker_unavailable")
        first, *_ = self.said(services, "record_redrive")
        assert [outcome["number"] for outcome in first["outcomes"]] == [0]

    def test_a_few_queues_are_looked_at_in_a_step_but_all_of_what_is_on_its_way(self, services: FakeServices) -> None:
        queues = [f"inventory_service.E{number}" for number in range(6)]
        desk = Desk({queue: [] for queue in queues})
        states = ["SELECTED"] * 5 + ["SENT"]
        letters = [work(n, letter(), states[n], queue=q, destination=q) for n, q in enumerate(queues)]

        self.advance(services, desk, letters, [])

        assert sorted(desk.wanted) == [queues[0], queues[1], queues[2], queues[5]]

    def test_a_queue_that_takes_no_more_ends_the_batch(self, services: FakeServices) -> None:
        ones = [letter(message_id=str(number)) for number in range(3)]
        desk = Desk({QUEUE: ones})
        desk.stops[1] = Stop(code="refused", detail="full")

        self.advance(services, desk, [work(n, one) for n, one in enumerate(ones)], [0, 1, 2])

        [recorded] = self.said(services, "record_redrive")
        assert [(o["number"], o["code"]) for o in recorded["outcomes"]] == [(0, None), (1, "refused")]

    def test_when_it_is_somebody_elses_turn_nothing_is_touched(self, services: FakeServices) -> None:
        busy = {"redrive": {"id": RUN}, "step": "busy", "waitS": 0.5, "lease": None, "letters": []}
        services.answers["order_service.claim_redrive"] = busy
        client = client_of(services)

        answer = client.post(ADVANCE, json={})

        assert answer.get_json() == {"redrive": {"id": RUN}, "step": "busy", "waitS": 0.5, "sent": 0}

    @pytest.mark.parametrize(
        ("id_", "code"), [("none", "not_found"), (RUN + "0", "not_found"), (RUN[:-1] + "x", "redrive_not_found")]
    )
    def test_an_id_that_can_be_none_is_not_found(self, services: FakeServices, id_: str, code: str) -> None:
        answer = client_of(services).get(f"/api/v1/admin/redrives/{id_}")

        assert (answer.status_code, answer.get_json()["code"]) == (404, code)


NEW, DRY_RUN, STOP = "/api/v1/admin/redrives", "/api/v1/admin/redrives/dry-run", f"/api/v1/admin/redrives/{RUN}/stop"


class TestBadBodies:
    @pytest.mark.parametrize(
        ("place", "body", "pointer"),
        [
            (NEW, {"filter": []}, "#/filter"),
            (NEW, {"filter": {"queue": ""}}, "#/filter/queue"),
            (NEW, {"filter": {"failedAfter": "soon"}}, "#/filter/failedAfter"),
            (NEW, {"filter": {"ids": []}}, "#/filter/ids"),
            (NEW, {"filter": {"ids": ["x"]}}, "#/filter/ids/0"),
            (NEW, {"filter": {"mood": "x"}}, "#/filter/mood"),
            (NEW, {"max": 0}, "#/max"),
            (NEW, {"max": 2001}, "#/max"),
            (NEW, {"pace": {"first": 0}}, "#/pace/first"),
            (NEW, {"pace": {"factor": 0.5}}, "#/pace/factor"),
            (NEW, {"pace": {"factor": "2"}}, "#/pace/factor"),
            (NEW, {"pace": {"most": 501}}, "#/pace/most"),
            (NEW, {"pace": {"perSecond": True}}, "#/pace/perSecond"),
            (NEW, {"note": "why"}, "#/note"),
            (DRY_RUN, {"filter": {"event": "x" * 65}}, "#/filter/event"),
            (DRY_RUN, {"limit": 101}, "#/limit"),
            (DRY_RUN, {"skip": -1}, "#/skip"),
            (DRY_RUN, {"pace": {}}, "#/pace"),
            (STOP, {"note": "x" * 201}, "#/note"),
            (STOP, {"why": "x"}, "#/why"),
            (ADVANCE, {"lease": "l-1"}, "#/lease"),
            (ADVANCE.replace("advance", "resume"), {"first": 1}, "#/first"),
        ],
    )
    def test_each_is_refused_at_its_place(
        self, services: FakeServices, client: FlaskClient, place: str, body: dict[str, Any], pointer: str
    ) -> None:
        answer = client.post(place, json=body, headers={"Idempotency-Key": "k-1"})

        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.get_json()["errors"]] == [pointer]
        assert services.calls == []

    @pytest.mark.parametrize("place", [NEW, STOP, ADVANCE.replace("advance", "resume")])
    def test_a_key_is_required(self, services: FakeServices, client: FlaskClient, place: str) -> None:
        answer = client.post(place, json={})

        assert (answer.status_code, answer.get_json()["code"]) == (400, "idempotency_key_required")
        assert services.calls == []
