"""The endpoints of operators with services and a broker that answer at once: what is asked, and what is told."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pika
import pytest
from flask.testing import FlaskClient
from harness.audit import AuditServices
from harness.login import client_of
from harness.services import FakeServices

from gateway.access import access_of
from gateway.admin.desk import register_desk
from gateway.admin.reconcile.kinds import KINDS
from gateway.services import CallTimedOut, ServiceUnavailable
from payment_service.psp_behaviour import SETTINGS
from shared.errors import (
    BrokerUnavailable,
    DeadLettersNotFound,
    InvalidRequest,
    OrderArchived,
    OrderSagaError,
    SagaNotFlagged,
    SagaNotNudgeable,
)
from shared.event_schema import moment_text
from shared.identity import Identity, Role
from shared.messaging.dead_letters import Moved, Stop
from shared.messaging.fingerprints import fingerprint
from shared.messaging.letters import Letter

QUEUE = "inventory_service.ORDER_CREATED"
ONE = str(UUID(int=1))
PLACE = f"/api/v1/admin/dead-letters/{QUEUE}"
ORDER_ID = "01a214ee-bc8e-72a8-afa8-ffc5d434af6e"
KEY = {"Idempotency-Key": "k-1", "X-Request-Id": "req-1"}
UP = {"database": "up", "broker": "up"}
BEHAVIOUR = {
    "behaviour": [{"name": "latency_ms", "value": 200, "default": 0, "least": 0, "most": 1, "meaning": "slow"}]
}


class FakeDesk:
    """Answers from a table, or raises what the table holds."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"is_reachable": True, "depth": 7}
        self.asked: list[tuple[Any, ...]] = []

    def _answer(self, *asked: Any) -> Any:
        self.asked.append(asked)
        answer = self.answers[asked[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def is_reachable(self) -> Any:
        return self._answer("is_reachable")

    def depths(self) -> Any:
        return self._answer("depths")

    def depth(self, queue: str) -> Any:
        return self._answer("depth", queue)

    def each(self, queue: str, see: Any) -> Any:
        return [seen for letter in self._answer("each", queue) if (seen := see(letter)) is not None]

    def unsendable(self, _letter: Letter, _queue: str) -> Stop | None:
        return None

    def redrive(self, queue: str, count: int) -> Any:
        return self._answer("redrive", queue, count)

    def discard(self, queue: str, count: int) -> Any:
        return self._answer("discard", queue, count)

    def discard_these(self, queue: str, prints: Any) -> Any:
        return self._answer("discard_these", queue, prints)

    @property
    def moves(self) -> list[tuple[Any, ...]]:
        return [asked for asked in self.asked if asked[0] in ("redrive", "discard", "discard_these")]


@pytest.fixture
def services() -> AuditServices:
    return AuditServices()


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
def client(services: AuditServices, desk: FakeDesk) -> FlaskClient:
    client = client_of(services)
    register_desk(client.application, desk)
    return client


def test_every_view_is_for_operators_alone(client: FlaskClient) -> None:
    views = {
        rule.rule: access_of(client.application.view_functions[rule.endpoint])
        for rule in client.application.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/admin")
    }

    assert len(views) == 26
    assert set(views.values()) == {frozenset({Role.ADMIN})}


class TestHealth:
    def test_everything_is_up(self, client: FlaskClient, services: AuditServices) -> None:
        for name in ("order_service", "inventory_service", "payment_service"):
            services.answers[f"{name}.health"] = UP
        services.answers["payment_service.health"] = UP | {"pspCircuit": "open"}

        response = client.get("/api/v1/admin/health")

        assert response.status_code == 200
        body = response.get_json()
        assert (body["status"], body["broker"], body["provider"]) == ("up", {"status": "up"}, {"circuit": "open"})
        assert body["gateway"]["status"] == "up"
        assert body["services"]["order_service"] == {"status": "up"} | UP
        # Health is the gateway's own question.
        assert set(services.callers) == {None}

    @pytest.mark.parametrize("is_reachable", [True, False])
    def test_what_is_down_is_said_and_is_no_error(
        self, client: FlaskClient, services: AuditServices, desk: FakeDesk, is_reachable: bool
    ) -> None:
        services.answers["order_service.health"] = UP | {"database": "down"}
        services.answers["inventory_service.health"] = CallTimedOut("late")
        services.answers["payment_service.health"] = "nonsense"
        desk.answers["is_reachable"] = is_reachable

        response = client.get("/api/v1/admin/health")

        assert response.status_code == 200
        body = response.get_json()
        assert body["status"] == "down"
        assert body["broker"] == {"status": "up" if is_reachable else "down"}
        assert body["provider"] == {"circuit": None}
        assert {name: report["status"] for name, report in body["services"].items()} == {
            "order_service": "down",
            "inventory_service": "down",
            "payment_service": "down",
        }
        assert body["services"]["inventory_service"]["code"] == "service_timeout"

    def test_without_a_way_to_the_broker_nothing_is_said_of_it(self, services: AuditServices) -> None:
        for name in ("order_service", "inventory_service", "payment_service"):
            services.answers[f"{name}.health"] = UP
        client = client_of(services)

        body = client.get("/api/v1/admin/health").get_json()

        assert (body["status"], body["broker"]) == ("up", {"status": "unknown"})


SAGA_FILTERS = (
    "cursor",
    "state",
    "text",
    "step",
    "waits_for",
    "status",
    "user_id",
    "seller_id",
    "since",
    "until",
)


class TestSagas:
    @pytest.mark.parametrize(
        ("query", "asked"),
        [
            ("", {"limit": 50}),
            (
                "?state=stuck&text=anna&limit=5&cursor=x~y",
                {"limit": 5, "cursor": "x~y", "state": "stuck", "text": "anna"},
            ),
            ("?step=payment&waitsFor=customer", {"limit": 50, "step": "payment", "waits_for": "customer"}),
            (
                "?status=PENDING&userId=ada&sellerId=shop&since=2026-01-31T12:00:00Z&until=2026-02-01T12:00:00Z",
                {
                    "limit": 50,
                    "status": "PENDING",
                    "user_id": "ada",
                    "seller_id": "shop",
                    "since": "2026-01-31T12:00:00+00:00",
                    "until": "2026-02-01T12:00:00+00:00",
                },
            ),
        ],
    )
    def test_the_order_service_is_asked(
        self, client: FlaskClient, services: AuditServices, query: str, asked: dict[str, Any]
    ) -> None:
        page = {"sagas": [{"orderId": str(uuid4()), "status": "PENDING", "waitsFor": "inventory"}], "nextCursor": None}
        services.answers["order_service.list_sagas"] = page

        response = client.get(f"/api/v1/admin/sagas{query}")

        assert (response.status_code, response.get_json()) == (200, page)
        assert services.calls == [("order_service", "list_sagas", dict.fromkeys(SAGA_FILTERS) | asked)]
        assert None not in services.callers

    @pytest.mark.parametrize(
        "query",
        [
            "state=lost",
            "limit=0",
            "limit=101",
            "cursor=%20",
            "text=",
            "more=1",
            "step=lunch",
            "waitsFor=godot",
            "status=SHIPPED",
            "since=yesterday",
        ],
    )
    def test_nonsense_is_refused(self, client: FlaskClient, services: AuditServices, query: str) -> None:
        response = client.get(f"/api/v1/admin/sagas?{query}")

        assert (response.status_code, response.get_json()["code"]) == (422, "invalid_request")
        assert services.calls == []

    def test_one_saga_is_shown(self, client: FlaskClient, services: AuditServices) -> None:
        saga = {"orderId": ORDER_ID, "status": "PENDING"}
        services.answers["order_service.get_saga"] = saga

        response = client.get(f"/api/v1/admin/sagas/{ORDER_ID}")

        assert (response.status_code, response.get_json()) == (200, saga)
        assert services.calls == [("order_service", "get_saga", {"order_id": ORDER_ID})]

    @pytest.mark.parametrize("what", ["nudge", "cancel", "resolve"])
    def test_a_saga_is_helped_on_with_a_note(self, client: FlaskClient, services: AuditServices, what: str) -> None:
        saga = {"orderId": ORDER_ID, "status": "PENDING"}
        services.answers[f"order_service.{what}_saga"] = {"saga": saga, "replayed": True}

        response = client.post(f"/api/v1/admin/sagas/{ORDER_ID}/{what}", json={"note": "ticket 7"}, headers=KEY)

        assert (response.status_code, response.get_json()) == (200, saga)
        assert response.headers["Idempotent-Replayed"] == "true"
        asked = {"order_id": ORDER_ID, "note": "ticket 7", "idempotency_key": "k-1", "correlation_id": "req-1"}
        assert services.calls == [("order_service", f"{what}_saga", asked)]

    @pytest.mark.parametrize("what", ["nudge", "cancel", "resolve"])
    @pytest.mark.parametrize("body", [{}, {"note": " "}, {"note": "x" * 501}, {"note": "x", "by": "me"}])
    def test_without_a_reason_nothing_is_done(
        self, client: FlaskClient, services: AuditServices, what: str, body: dict[str, str]
    ) -> None:
        response = client.post(f"/api/v1/admin/sagas/{ORDER_ID}/{what}", json=body, headers=KEY)

        assert (response.status_code, response.get_json()["code"]) == (422, "invalid_request")
        assert services.calls == []

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (SagaNotNudgeable, "saga_not_nudgeable"),
            (SagaNotFlagged, "saga_not_flagged"),
            (OrderArchived, "order_archived"),
        ],
    )
    def test_what_cannot_be_is_a_conflict(
        self, client: FlaskClient, services: AuditServices, error: type[OrderSagaError], code: str
    ) -> None:
        services.answers["order_service.nudge_saga"] = error("no", {"status": "RESERVED"})

        response = client.post(f"/api/v1/admin/sagas/{ORDER_ID}/nudge", json={"note": "x"}, headers=KEY)

        body = response.get_json()
        assert (response.status_code, body["code"], body["currentStatus"]) == (409, code, "RESERVED")


class TestErasures:
    ERASURE: ClassVar[dict[str, Any]] = {"id": ORDER_ID, "userId": "ada", "erased": 0, "skipped": 0, "finishedAt": None}

    def test_one_is_asked_for(self, client: FlaskClient, services: AuditServices) -> None:
        services.answers["order_service.request_erasure"] = {"erasure": self.ERASURE, "replayed": False}

        response = client.post("/api/v1/admin/erasures", json={"userId": "ada", "note": "asked"}, headers=KEY)

        assert (response.status_code, response.get_json()) == (202, self.ERASURE)
        assert response.headers["Location"].endswith(f"/api/v1/admin/erasures/{ORDER_ID}")
        asked = {"user_id": "ada", "note": "asked", "idempotency_key": "k-1", "correlation_id": "req-1"}
        assert services.calls == [("order_service", "request_erasure", asked)]

    def test_it_is_followed(self, client: FlaskClient, services: AuditServices) -> None:
        services.answers["order_service.get_erasure"] = self.ERASURE

        assert client.get(f"/api/v1/admin/erasures/{ORDER_ID}").get_json() == self.ERASURE
        response = client.get("/api/v1/admin/erasures/none")
        assert (response.status_code, response.get_json()["code"]) == (404, "erasure_not_found")

    @pytest.mark.parametrize(
        ("body", "pointers"),
        [
            ({}, ["#/note", "#/userId"]),
            ({"userId": "ada"}, ["#/note"]),
            ({"userId": "ada", "note": " "}, ["#/note"]),
            ({"userId": "ada", "note": "x" * 501}, ["#/note"]),
            ({"userId": "", "note": "asked"}, ["#/userId"]),
            ({"userId": "x" * 65, "note": "asked"}, ["#/userId"]),
            ({"userId": ["ada"], "note": "asked"}, ["#/userId"]),
            ({"userId": "ada", "note": "asked", "orderId": ORDER_ID}, ["#/orderId"]),
        ],
    )
    def test_a_bad_body_is_refused_at_its_place(
        self, client: FlaskClient, services: AuditServices, body: dict[str, Any], pointers: list[str]
    ) -> None:
        response = client.post("/api/v1/admin/erasures", json=body, headers=KEY)

        assert response.status_code == 422
        assert sorted(error["pointer"] for error in response.get_json()["errors"]) == pointers
        assert services.calls == []

    def test_a_key_is_required(self, client: FlaskClient, services: AuditServices) -> None:
        response = client.post("/api/v1/admin/erasures", json={"userId": "ada", "note": "asked"})

        assert (response.status_code, response.get_json()["code"]) == (400, "idempotency_key_required")
        assert services.calls == []


class TestReconciling:
    @pytest.mark.parametrize(
        "query",
        ["limit=0", "limit=501", "quiet=0", "quiet=soon", "ago=0", "full=yes", "cursor=", "cursor=x", "since=x", "x=1"],
    )
    def test_no_pass_begins_with_nonsense(self, client: FlaskClient, services: AuditServices, query: str) -> None:
        response = client.get(f"/api/v1/admin/reconcile?{query}")

        assert (response.status_code, response.get_json()["code"]) == (422, "invalid_request")
        assert services.calls == []

    @pytest.mark.parametrize("query", ["", "ids=", "ids=7", f"ids={ORDER_ID},", f"ids={ORDER_ID}&quiet=0"])
    def test_no_orders_are_compared_that_can_be_none(
        self, client: FlaskClient, services: AuditServices, query: str
    ) -> None:
        response = client.get(f"/api/v1/admin/reconcile/orders?{query}")

        assert (response.status_code, response.get_json()["code"]) == (422, "invalid_request")
        assert services.calls == []

    @pytest.mark.parametrize(
        ("changes", "pointer"),
        [
            ({"code": None}, "#/code"),
            ({"code": "bad_luck"}, "#/code"),
            ({"orderId": "7"}, "#/orderId"),
            ({"orderId": None}, "#/orderId"),
            ({"subject": ""}, "#/subject"),
            ({"subject": "x" * 201}, "#/subject"),
            ({"quiet": 0}, "#/quiet"),
            ({"quiet": "1"}, "#/quiet"),
            ({"force": True}, "#/force"),
        ],
    )
    def test_a_repair_that_is_none_is_refused_at_its_place(
        self, client: FlaskClient, services: AuditServices, changes: dict[str, Any], pointer: str
    ) -> None:
        body = {"code": next(iter(KINDS)), "orderId": ORDER_ID, **changes}

        response = client.post("/api/v1/admin/reconcile/repairs", json=body, headers=KEY)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]
        assert services.calls == []


class TestDeadLetterOverview:
    def test_they_are_grouped_by_consumer(self, client: FlaskClient, desk: FakeDesk) -> None:
        desk.answers["depths"] = {
            "inventory_service.ORDER_CREATED": 2,
            "order_service.PAYMENT_FAILED": 0,
            "inventory_service.ORDER_CANCELLED": None,
        }

        response = client.get("/api/v1/admin/dead-letters")

        assert (response.status_code, response.get_json()) == (
            200,
            {
                "depth": 2,
                "consumers": [
                    {
                        "service": "inventory_service",
                        "depth": 2,
                        "queues": [
                            {"queue": "inventory_service.ORDER_CREATED", "event": "ORDER_CREATED", "depth": 2},
                            {"queue": "inventory_service.ORDER_CANCELLED", "event": "ORDER_CANCELLED", "depth": None},
                        ],
                    },
                    {
                        "service": "order_service",
                        "depth": 0,
                        "queues": [{"queue": "order_service.PAYMENT_FAILED", "event": "PAYMENT_FAILED", "depth": 0}],
                    },
                ],
                "groups": None,
            },
        )

    @pytest.mark.parametrize("asked", ["", f"/{QUEUE}"])
    def test_without_the_broker_it_is_worth_asking_again(self, client: FlaskClient, desk: FakeDesk, asked: str) -> None:
        desk.answers |= dict.fromkeys(("depths", "each"), BrokerUnavailable("down"))

        response = client.get(f"/api/v1/admin/dead-letters{asked}")

        assert (response.status_code, response.get_json()["code"]) == (503, "broker_unavailable")
        assert response.headers["Retry-After"] == "1"

    def test_a_gateway_without_a_way_to_the_broker_says_so(self, services: AuditServices) -> None:
        response = client_of(services).get("/api/v1/admin/dead-letters")

        assert (response.status_code, response.get_json()["code"]) == (503, "broker_unavailable")


def letter(body: bytes = b"{}", headers: Mapping[Any, Any] | None = None, **properties: Any) -> Letter:
    return Letter(body=body, properties=pika.BasicProperties(headers=dict(headers or {}), **properties))


class TestDeadLetter:
    def shown(self, client: FlaskClient, desk: FakeDesk, letter: Letter) -> dict[str, Any]:
        desk.answers["each"] = [letter]
        response = client.get(f"{PLACE}?limit=3")
        assert response.status_code == 200, response.get_json()
        assert desk.asked == [("each", QUEUE)]
        assert response.get_json()["queue"] == QUEUE
        [shown] = response.get_json()["letters"]
        return dict(shown)

    def test_it_says_what_happened(self, client: FlaskClient, desk: FakeDesk) -> None:
        headers = {
            "x-error": "InvalidPayload: no id",
            "x-error-code": "invalid_payload",
            "x-attempts": 2,
            "x-failed-at": "2026-01-01T12:00:00+00:00",
            "x-origin-queue": QUEUE,
            "x-origin-exchange": "order_service.events",
        }

        whole = letter(
            '{"name": "Grüße"}'.encode(), headers, message_id="event-1", type="ORDER_CREATED", correlation_id="c"
        )

        shown = self.shown(client, desk, whole)

        assert shown == {
            "id": fingerprint(whole),
            "eventId": "event-1",
            "type": "ORDER_CREATED",
            "correlationId": "c",
            "reason": "invalid_payload",
            "error": "InvalidPayload: no id",
            "attempts": 2,
            "failedAt": "2026-01-01T12:00:00+00:00",
            "originQueue": QUEUE,
            "originExchange": "order_service.events",
            "headers": headers,
            "body": '{"name": "Grüße"}',
            "bodyEncoding": "utf-8",
            "bodyBytes": 19,
        }

    @pytest.mark.parametrize(
        ("body", "shown", "encoding"),
        [
            (b"", "", "utf-8"),
            (b"[NaN", "[NaN", "utf-8"),
            (b"a\x00b", "a\x00b", "utf-8"),
            (b"\xff\xfe", "//4=", "base64"),
            (b"ab\xc3", "YWLD", "base64"),
            (b"x" * 70_000, "x" * 65_536, "utf-8"),
            (b"x" + "ü".encode() * 40_000, "x" + "ü" * 32_767, "utf-8"),
        ],
    )
    def test_any_body_is_shown(
        self, client: FlaskClient, desk: FakeDesk, body: bytes, shown: str, encoding: str
    ) -> None:
        document = self.shown(client, desk, letter(body))

        assert (document["body"], document["bodyEncoding"], document["bodyBytes"]) == (shown, encoding, len(body))

    def test_any_headers_are_shown(self, client: FlaskClient, desk: FakeDesk) -> None:
        deep: Any = "bottom"
        for _ in range(300):
            deep = {"in": [deep]}
        odd = {
            b"\xff": b"\xff",
            "moment": datetime(2026, 1, 1, tzinfo=UTC),
            "decimal": Decimal("1.5"),
            "list": [1, None, True, {"b": 2**62}],
            "long": "x" * 5_000,
            "many": list(range(200)),
            "deep": deep,
            "x-attempts": "many",
            "x-error-code": 7,
        }

        document = self.shown(client, desk, letter(headers=odd))

        shown = document["headers"]
        assert (document["attempts"], document["reason"]) == (0, None)
        assert (shown["/w=="], shown["moment"], shown["decimal"]) == ("/w==", "2026-01-01T00:00:00+00:00", "1.5")
        assert shown["list"] == [1, None, True, {"b": 2**62}]
        assert (len(shown["long"]), len(shown["many"])) == (2_000, 100)
        assert "bottom" not in str(shown["deep"])

    def test_an_unknown_queue_has_none(self, client: FlaskClient, desk: FakeDesk) -> None:
        desk.answers["each"] = DeadLettersNotFound("no such queue", {"queue": QUEUE})

        response = client.get(PLACE)

        assert (response.status_code, response.get_json()["code"]) == (404, "dead_letters_not_found")
        assert desk.asked == [("each", QUEUE)]


class TestMoving:
    def test_redriving_is_recorded_before_and_after(
        self, client: FlaskClient, services: AuditServices, desk: FakeDesk
    ) -> None:
        desk.answers["redrive"] = Moved(events=["event-1", None, "a\x00b"], stopped=None)

        response = client.post(f"{PLACE}/redrive", json={"count": 5}, headers=KEY)

        outcome = {"done": 3, "eventIds": ["event-1", None, "a\ufffdb"], "stopped": None}
        assert (response.status_code, response.get_json()) == (200, {"queue": QUEUE, "count": 5} | outcome)
        assert "Idempotent-Replayed" not in response.headers
        assert desk.asked == [("depth", QUEUE), ("redrive", QUEUE, 5)]
        ended, begun = services.entries
        said = {"count": 5, "idempotencyKey": "k-1"}
        assert (begun["before"], begun["after"], begun["key"]) == (said, None, "k-1")
        assert (ended["before"], ended["after"], ended["key"]) == (said, outcome, None)
        for entry in services.entries:
            assert (entry["action"], entry["object_type"]) == ("redrive_dead_letters", "dead_letters")
            assert (entry["object_id"], entry["request_id"]) == (QUEUE, "req-1")

    def test_discarding_keeps_its_note(self, client: FlaskClient, services: AuditServices, desk: FakeDesk) -> None:
        desk.answers["discard"] = Moved(events=["event-1"])

        response = client.post(f"{PLACE}/discard", json={"count": 1, "note": "ended long ago"}, headers=KEY)

        assert (response.status_code, response.get_json()["done"]) == (200, 1)
        assert desk.moves == [("discard", QUEUE, 1)]
        assert [entry["action"] for entry in services.entries] == ["discard_dead_letters"] * 2
        assert services.entries[0]["before"]["note"] == "ended long ago"

    def test_why_it_stopped_is_told(self, client: FlaskClient, desk: FakeDesk) -> None:
        desk.answers["redrive"] = Moved(events=["event-1"], stopped=Stop(code="refused", detail="takes no more"))

        body = client.post(f"{PLACE}/redrive", json={"count": 5}, headers=KEY).get_json()

        assert (body["done"], body["stopped"]) == (1, {"code": "refused", "detail": "takes no more"})

    @pytest.mark.parametrize("verb", ["redrive", "discard"])
    def test_a_repeated_key_moves_nothing_more(
        self, client: FlaskClient, services: AuditServices, desk: FakeDesk, verb: str
    ) -> None:
        desk.answers |= {"redrive": Moved(events=["event-1"]), "discard": Moved(events=["event-1"])}
        wanted = {"count": 1, "note": "why"} if verb == "discard" else {"count": 1}
        first = client.post(f"{PLACE}/{verb}", json=wanted, headers=KEY)
        for number in range(3):
            client.post(f"{PLACE}/{verb}", json=wanted, headers={"Idempotency-Key": f"other-{number}"})

        again = client.post(f"{PLACE}/{verb}", json=wanted, headers=KEY | {"X-Request-Id": "req-2"})

        assert (again.status_code, again.get_json()) == (200, first.get_json())
        assert again.headers["Idempotent-Replayed"] == "true"
        assert len(desk.moves) == 4
        assert len(services.entries) == 8

    def test_a_key_is_for_one_request(self, client: FlaskClient, desk: FakeDesk) -> None:
        desk.answers["redrive"] = Moved(events=["event-1"])
        client.post(f"{PLACE}/redrive", json={"count": 1}, headers=KEY)

        response = client.post(f"{PLACE}/redrive", json={"count": 2}, headers=KEY)

        assert (response.status_code, response.get_json()["code"]) == (422, "idempotency_key_reused")
        assert len(desk.moves) == 1

    def test_of_an_interrupted_request_nobody_knows_how_far_it_came(
        self, client: FlaskClient, services: AuditServices, desk: FakeDesk
    ) -> None:
        desk.answers["redrive"] = MemoryError("killed")
        assert client.post(f"{PLACE}/redrive", json={"count": 1}, headers=KEY).status_code == 500

        at_once = client.post(f"{PLACE}/redrive", json={"count": 1}, headers=KEY)
        services.entries[0]["at"] = moment_text(datetime.now(UTC) - timedelta(seconds=31))
        later = client.post(f"{PLACE}/redrive", json={"count": 1}, headers=KEY)

        assert (at_once.status_code, at_once.get_json()["code"]) == (409, "idempotency_key_in_progress")
        body = later.get_json()
        assert (later.status_code, body["done"], body["stopped"]["code"]) == (200, None, "interrupted")
        assert len(desk.moves) == 1

    def test_what_cannot_be_recorded_is_not_done(
        self, client: FlaskClient, services: AuditServices, desk: FakeDesk
    ) -> None:
        services.fails_after = 0

        response = client.post(f"{PLACE}/redrive", json={"count": 1}, headers=KEY)

        assert response.status_code == 503
        assert desk.moves == []

    def test_what_is_done_is_told_although_its_outcome_could_not_be_recorded(
        self, client: FlaskClient, services: AuditServices, desk: FakeDesk
    ) -> None:
        services.fails_after = 1
        desk.answers["redrive"] = Moved(events=["event-1"])

        response = client.post(f"{PLACE}/redrive", json={"count": 1}, headers=KEY)

        assert (response.status_code, response.get_json()["done"]) == (200, 1)
        assert len(services.entries) == 1

    @pytest.mark.parametrize(
        ("error", "status"),
        [(DeadLettersNotFound("no such queue", {"queue": QUEUE}), 404), (BrokerUnavailable("down"), 503)],
    )
    def test_without_queue_or_broker_the_key_stays_free(
        self, client: FlaskClient, services: AuditServices, desk: FakeDesk, error: Any, status: int
    ) -> None:
        desk.answers["depth"] = error

        response = client.post(f"{PLACE}/redrive", json={"count": 1}, headers=KEY)

        assert (response.status_code, response.get_json()["code"]) == (status, error.code)
        assert (services.entries, desk.moves) == ([], [])

    @pytest.mark.parametrize(("verb", "body"), [("redrive", {"count": 1}), ("discard", {"count": 1, "note": "why"})])
    def test_a_key_is_required(self, client: FlaskClient, desk: FakeDesk, verb: str, body: dict[str, Any]) -> None:
        response = client.post(f"{PLACE}/{verb}", json=body)

        assert (response.status_code, response.get_json()["code"]) == (400, "idempotency_key_required")
        assert desk.asked == []

    @pytest.mark.parametrize(
        ("verb", "body", "pointer"),
        [
            ("redrive", {}, "#/count"),
            ("redrive", {"count": 0}, "#/count"),
            ("redrive", {"count": 1001}, "#/count"),
            ("redrive", {"count": "1"}, "#/count"),
            ("redrive", {"count": True}, "#/count"),
            ("redrive", {"count": 1, "note": "why"}, "#/note"),
            ("discard", {"count": 1}, "#/note"),
            ("discard", {"count": 1, "note": " "}, "#/note"),
            ("discard", {"count": 1, "note": "x" * 501}, "#/note"),
        ],
    )
    def test_a_bad_body_is_refused_at_its_place(
        self, client: FlaskClient, desk: FakeDesk, verb: str, body: dict[str, Any], pointer: str
    ) -> None:
        response = client.post(f"{PLACE}/{verb}", json=body, headers=KEY)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]
        assert desk.asked == []


class TestChaos:
    def test_the_payment_service_changes_the_provider(self, client: FlaskClient, services: AuditServices) -> None:
        services.answers["payment_service.change_provider_behaviour"] = BEHAVIOUR
        changes = {"latency_ms": 200, "failure_rate": 0.5}

        response = client.patch("/api/v1/admin/chaos", json=changes, headers=KEY)

        assert (response.status_code, response.get_json()) == (200, BEHAVIOUR)
        asked = {"changes": changes, "correlation_id": "req-1"}
        assert services.calls == [("payment_service", "change_provider_behaviour", asked)]
        assert None not in services.callers

    @pytest.mark.parametrize("name", SETTINGS)
    def test_the_limits_are_the_providers(self, client: FlaskClient, services: AuditServices, name: str) -> None:
        services.answers["payment_service.change_provider_behaviour"] = BEHAVIOUR
        setting = SETTINGS[name]

        answers = [
            client.patch("/api/v1/admin/chaos", json={name: int(value) if setting.is_whole else value}).status_code
            for value in (setting.least, setting.most, setting.least - 1, setting.most + 1)
        ]

        assert answers == [200, 200, 422, 422]

    @pytest.mark.parametrize(
        ("changes", "pointer"),
        [
            ({}, "#"),
            ({"mood": 1}, "#/mood"),
            ({"latency_ms": "200"}, "#/latency_ms"),
            ({"latency_ms": 0.5}, "#/latency_ms"),
            ({"failure_rate": "0.5"}, "#/failure_rate"),
            ({"failure_rate": True}, "#/failure_rate"),
            ({"failure_rate": None}, "#/failure_rate"),
        ],
    )
    def test_only_known_numbers_are_taken(
        self, client: FlaskClient, services: AuditServices, changes: dict[str, Any], pointer: str
    ) -> None:
        response = client.patch("/api/v1/admin/chaos", json=changes)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]
        assert services.calls == []

    def test_what_the_service_refuses_is_said(self, client: FlaskClient, services: AuditServices) -> None:
        services.answers["payment_service.change_provider_behaviour"] = InvalidRequest(
            "not so", {"errors": {"latency_ms": ["too slow"]}}
        )

        response = client.patch("/api/v1/admin/chaos", json={"latency_ms": 1})

        assert (response.status_code, response.get_json()["errors"][0]["pointer"]) == (422, "#/latency_ms")


class AuditLogs(FakeServices):
    """Three logs, each newest first by id, as the services keep them."""

    def __init__(self, logs: Mapping[str, list[dict[str, Any]]]) -> None:
        super().__init__()
        self.logs = logs

    def call(
        self, service: str, method: str, timeout_s: float | None = None, caller: Identity | None = None, **kwargs: Any
    ) -> Any:
        self.callers.append(caller)
        self.calls.append((service, method, kwargs))
        if service in self.answers:
            raise self.answers[service]
        rows = [e for e in self.logs[service] if kwargs["cursor"] is None or e["id"] < kwargs["cursor"]]
        shown = rows[: kwargs["limit"]]
        return {"entries": shown, "nextCursor": shown[-1]["id"] if len(rows) > kwargs["limit"] else None}


def entry(milliseconds: int, number: int, *, late_ms: int = 0) -> dict[str, Any]:
    """With the id of a UUIDv7; its transaction began ``late_ms`` before."""
    id_ = UUID(bytes=struct.pack(">Q", milliseconds << 16)[:6] + b"\x70\x00" + struct.pack(">Q", number))
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds - late_ms)
    return {"id": str(id_), "at": moment_text(moment), "action": "cancel_order"}


def logs_of(*counts: int, late: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Entries at every third moment each, some moments shared; each log newest first."""
    services = ("order_service", "inventory_service", "payment_service")
    return {
        service: [
            entry(10 * (n // 2), 3 * n + place, late_ms=25 if late and n % 3 == 0 else 0)
            for n in reversed(range(count))
        ]
        for place, (service, count) in enumerate(zip(services, counts, strict=True))
    }


def pages_of(services: FakeServices, limit: int) -> list[list[dict[str, Any]]]:
    client = client_of(services)
    pages: list[list[dict[str, Any]]] = []
    cursor = ""
    while len(pages) < 100:
        response = client.get(f"/api/v1/admin/audit?limit={limit}{cursor}")
        assert response.status_code == 200, response.get_json()
        pages.append(response.get_json()["entries"])
        if response.get_json()["nextCursor"] is None:
            return pages
        cursor = f"&cursor={response.get_json()['nextCursor']}"
    raise AssertionError("no end")


class TestAudit:
    @pytest.mark.parametrize("counts", [(0, 0, 0), (5, 5, 5), (20, 0, 1), (0, 7, 3), (1, 30, 30)])
    @pytest.mark.parametrize("limit", [1, 2, 5, 100])
    def test_page_by_page_each_entry_is_seen_once_and_newest_first(self, counts: tuple[int, ...], limit: int) -> None:
        logs = logs_of(*counts)

        pages = pages_of(AuditLogs(logs), limit)

        every = [{**e, "service": service} for service, log in logs.items() for e in log]
        assert [e for page in pages for e in page] == sorted(every, key=lambda e: (e["at"], e["id"]), reverse=True)
        assert all(len(page) == limit for page in pages[:-1])

    @pytest.mark.parametrize("limit", [1, 3, 7])
    def test_none_is_lost_where_a_long_transaction_wrote_late(self, limit: int) -> None:
        """Its entry is newer by its id than by its time: each log's own order is kept."""
        logs = logs_of(9, 12, 10, late=True)

        seen = [e for page in pages_of(AuditLogs(logs), limit) for e in page]

        for service, log in logs.items():
            assert [e["id"] for e in seen if e["service"] == service] == [e["id"] for e in log]

    def test_new_entries_do_not_disturb_a_page_further_on(self) -> None:
        logs = logs_of(4, 4, 4)
        services = AuditLogs(logs)
        client = client_of(services)
        first = client.get("/api/v1/admin/audit?limit=6").get_json()
        for number, log in enumerate(logs.values()):
            log.insert(0, entry(1_000, 100 + number))

        second = client.get(f"/api/v1/admin/audit?limit=6&cursor={first['nextCursor']}").get_json()

        assert len({e["id"] for page in (first, second) for e in page["entries"]}) == 12
        assert second["nextCursor"] is None

    def test_all_are_asked_in_the_callers_name_with_the_filters(self) -> None:
        services = AuditLogs(logs_of(1, 1, 1))
        client = client_of(services)

        client.get("/api/v1/admin/audit?actor=ada&objectId=mug&limit=7")

        asked = {"limit": 7, "cursor": None, "actor": "ada", "object_id": "mug"}
        assert sorted(services.calls, key=lambda call: call[0]) == [
            (service, "list_audit", asked) for service in ("inventory_service", "order_service", "payment_service")
        ]
        assert None not in services.callers

    def test_while_one_is_down_there_is_no_page(self) -> None:
        services = AuditLogs(logs_of(1, 1, 1))
        services.answers["inventory_service"] = ServiceUnavailable("not running")

        response = client_of(services).get("/api/v1/admin/audit")

        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")

    @pytest.mark.parametrize(
        "cursor", ["x", "0~0", "0~0~0~0", "0~0~nope", "~~", str(UUID(int=1)), f"{UUID(int=1)}~0~--"]
    )
    def test_a_cursor_of_somebody_else_is_refused(self, cursor: str) -> None:
        services = AuditLogs(logs_of(1, 1, 1))

        response = client_of(services).get(f"/api/v1/admin/audit?cursor={cursor}")

        assert response.status_code == 422
        assert response.get_json()["errors"] == [{"parameter": "cursor", "detail": "Not a cursor of this API."}]
        assert services.calls == []
