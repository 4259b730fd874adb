"""Chaos switches over HTTP with services that answer at once: who is asked what, and what is told when one is down."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from harness.login import client_of
from harness.services import FakeServices

from gateway.services import ALL_SERVICES, CallTimedOut, ServiceUnavailable
from shared.chaos.kinds import KINDS, LONGEST_S, MOST_DELAY_MS
from shared.choreography import load_choreography
from shared.errors import ChaosDisabled, InvalidRequest

PLACE = "/api/v1/admin/chaos"
ID = "01a214ee-d001-7c1f-8a51-2f6f8d0b7b11"
GOOD = {"kind": "psp_failure", "target": "psp", "amount": 0.5, "note": "why"}
BEHAVIOUR = {"behaviour": [{"name": "latency_ms", "value": 0}]}
UP = {"database": "up", "broker": "up"}
MARK = {"kind": "relay_pause", "target": "order_service", "until": "2026-01-31T12:05:00Z"}


def a_switch(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {"id": ID[:-1] + str(number), **GOOD, "remainingS": 5.0, **changes}


@pytest.fixture
def services() -> FakeServices:
    services = FakeServices()
    for service in ALL_SERVICES:
        services.answers |= {f"{service}.list_chaos": [], f"{service}.clear_chaos": []}
    services.answers["payment_service.provider_behaviour"] = BEHAVIOUR
    services.answers["payment_service.reset_provider_behaviour"] = BEHAVIOUR
    return services


@pytest.fixture
def client(services: FakeServices) -> FlaskClient:
    return client_of(services)


class TestLooking:
    def test_all_services_as_one(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.list_chaos"] = [a_switch(1)]
        services.answers["payment_service.list_chaos"] = [a_switch(2)]

        response = client.get(PLACE)

        assert response.status_code == 200
        switches = [a_switch(1, service="order_service"), a_switch(2, service="payment_service")]
        assert response.get_json() == {**BEHAVIOUR, "switches": switches, "unanswered": []}
        assert None not in services.callers

    def test_whoever_is_down_is_named(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.list_chaos"] = [a_switch(1)]
        for method in ("list_chaos", "provider_behaviour"):
            services.answers[f"payment_service.{method}"] = CallTimedOut("late")

        response = client.get(PLACE)

        assert response.status_code == 200
        body = response.get_json()
        assert (body["behaviour"], body["unanswered"], len(body["switches"])) == (None, ["payment_service"], 1)


class TestSwitchingOn:
    @pytest.mark.parametrize(
        ("target", "service"),
        [
            ("psp", "payment_service"),
            ("order_service", "order_service"),
            ("inventory_service.ORDER_CREATED", "inventory_service"),
        ],
    )
    def test_the_target_says_who_is_asked(
        self, client: FlaskClient, services: FakeServices, target: str, service: str
    ) -> None:
        services.answers[f"{service}.set_chaos"] = a_switch(target=target)
        wanted = {**GOOD, "target": target, "durationS": 60}

        response = client.post(PLACE, json=wanted, headers={"X-Request-Id": "req-1"})

        assert (response.status_code, response.get_json()) == (200, a_switch(target=target, service=service))
        assert services.calls == [(service, "set_chaos", {"switch": wanted, "correlation_id": "req-1"})]
        assert None not in services.callers

    def test_an_end_is_passed_on_in_utc(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["payment_service.set_chaos"] = a_switch()

        client.post(PLACE, json={**GOOD, "until": "2026-01-31T13:00:00+01:00"})

        assert services.calls[0][2]["switch"]["until"] == "2026-01-31T12:00:00+00:00"

    @pytest.mark.parametrize(
        ("changes", "pointer"),
        [
            ({"kind": "flood"}, "#/kind"),
            ({"kind": None}, "#/kind"),
            ({"target": "gateway"}, "#/target"),
            ({"target": "order_service.order created"}, "#/target"),
            ({"target": "psp\n"}, "#/target"),
            ({"amount": 0}, "#/amount"),
            ({"amount": "1"}, "#/amount"),
            ({"amount": True}, "#/amount"),
            ({"amount": MOST_DELAY_MS + 1}, "#/amount"),
            ({"durationS": 0}, "#/durationS"),
            ({"durationS": LONGEST_S + 1}, "#/durationS"),
            ({"durationS": 10**400}, "#/durationS"),
            ({"until": "tomorrow"}, "#/until"),
            ({"until": "2026-01-31T12:00:00Z", "durationS": 1}, "#/until"),
            ({"note": " "}, "#/note"),
            ({"note": "a\x00b"}, "#/note"),
            ({"mood": 1}, "#/mood"),
        ],
    )
    def test_bad_input_gets_no_further(
        self, client: FlaskClient, services: FakeServices, changes: dict[str, Any], pointer: str
    ) -> None:
        response = client.post(PLACE, json={**GOOD, **changes})

        assert response.status_code == 422
        assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]
        assert services.calls == []

    @pytest.mark.parametrize("missing", ["kind", "target", "note"])
    def test_what_has_to_be_said(self, client: FlaskClient, services: FakeServices, missing: str) -> None:
        response = client.post(PLACE, json={name: value for name, value in GOOD.items() if name != missing})

        assert [error["pointer"] for error in response.get_json()["errors"]] == [f"#/{missing}"]
        assert services.calls == []

    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (ChaosDisabled("not here"), 403, "chaos_disabled"),
            (InvalidRequest("no", {"errors": {"target": ["one of psp"]}}), 422, "invalid_request"),
            (ServiceUnavailable("down"), 503, "service_unavailable"),
            (CallTimedOut("late"), 504, "outcome_unknown"),
        ],
    )
    def test_what_the_service_says(
        self, client: FlaskClient, services: FakeServices, error: Exception, status: int, code: str
    ) -> None:
        services.answers["payment_service.set_chaos"] = error

        response = client.post(PLACE, json=GOOD)

        assert (response.status_code, response.get_json()["code"]) == (status, code)

    def test_every_kind_and_queue_can_be_said(self, client: FlaskClient, services: FakeServices) -> None:
        for service in ALL_SERVICES:
            services.answers[f"{service}.set_chaos"] = a_switch()
        targets = ["psp", *ALL_SERVICES, *(queue for queue, _ in load_choreography().work_queues())]

        for target in targets:
            for kind in KINDS:
                assert client.post(PLACE, json={**GOOD, "kind": kind, "target": target}).status_code == 200


class TestSwitchingOff:
    def test_one(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["inventory_service.clear_chaos"] = [a_switch()]

        response = client.delete(f"{PLACE}/{ID.upper()}", headers={"X-Request-Id": "req-1"})

        assert (response.status_code, response.get_json()) == (200, a_switch(service="inventory_service"))
        asked = {"switch_id": ID, "correlation_id": "req-1"}
        assert sorted(services.calls) == [(service, "clear_chaos", asked) for service in sorted(ALL_SERVICES)]

    @pytest.mark.parametrize("id_", [ID, "7", "x" * 36])
    def test_one_that_is_not_on(self, client: FlaskClient, id_: str) -> None:
        response = client.delete(f"{PLACE}/{id_}")

        assert (response.status_code, response.get_json()["code"]) == (404, "chaos_switch_not_found")

    def test_one_that_may_be_on_where_nobody_answers(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.clear_chaos"] = ServiceUnavailable("down")

        assert client.delete(f"{PLACE}/{ID}").status_code == 503

    def test_all(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.clear_chaos"] = [a_switch(1), a_switch(2)]

        response = client.delete(PLACE)

        switches = [a_switch(number, service="order_service") for number in (1, 2)]
        assert (response.status_code, response.get_json()) == (200, {**BEHAVIOUR, "switches": switches})

    def test_all_but_those_of_whoever_is_down(self, client: FlaskClient, services: FakeServices) -> None:
        """Given a service that does not answer, then the others are asked all the same; the answer is no success."""
        services.answers["order_service.clear_chaos"] = ServiceUnavailable("down")

        response = client.delete(PLACE)

        assert (response.status_code, response.get_json()["code"]) == (503, "service_unavailable")
        asked = {(service, method) for service, method, _ in services.calls}
        assert ("inventory_service", "clear_chaos") in asked
        assert ("payment_service", "reset_provider_behaviour") in asked


class TestHealth:
    @pytest.mark.parametrize("path", ["/health/ready", "/api/v1/health/ready", "/api/v1/admin/health"])
    @pytest.mark.parametrize("marks", [[], [MARK]])
    def test_says_what_trouble_is_made_and_stays_ready(
        self, client: FlaskClient, services: FakeServices, path: str, marks: list[dict[str, str]]
    ) -> None:
        for service in ALL_SERVICES:
            services.answers[f"{service}.health"] = UP
        if marks:
            services.answers["order_service.health"] = UP | {"chaos": marks}

        response = client.get(path)

        assert response.status_code == 200
        assert response.get_json().get("chaos", []) == marks
        assert response.get_json()["services"]["order_service"].get("chaos", []) == marks
