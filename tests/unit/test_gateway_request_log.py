"""The line that each request leaves in the log, and the span of one that is traced."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from harness.services import FakeServices
from structlog.testing import capture_logs

from shared.errors import OrderNotFound

ORDER_ID = "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e"


def requests_in(logged: Any) -> list[Any]:
    return [line for line in logged if line["event"] == "request"]


class TestALine:
    def test_says_what_was_asked_and_how_it_ended(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.get_order"] = OrderNotFound("none")
        with capture_logs() as logged:
            answer = client.get(f"/api/v1/orders/{ORDER_ID}?expand=payment")
        [line] = requests_in(logged)
        assert line.pop("ms") >= 0
        assert line.pop("request_id") == answer.headers["X-Request-Id"]
        assert line == {
            "event": "request",
            "log_level": "info",
            "module": "gateway.request_log",
            "method": "GET",
            "path": f"/api/v1/orders/{ORDER_ID}",
            "status": 404,
            "order_id": ORDER_ID,
        }

    def test_is_left_by_a_refused_request_too(self, client: FlaskClient) -> None:
        with capture_logs() as logged:
            client.get("/api/v1/orders", headers={"Authorization": "Bearer s3cret"})
            client.post("/nowhere", json={"password": "s3cret"})
        assert [(line["path"], line["status"]) for line in requests_in(logged)] == [
            ("/api/v1/orders", 401),
            ("/nowhere", 404),
        ]
        assert "s3cret" not in str(logged)

    @pytest.mark.parametrize("path", ["/health", "/metrics", "/health/live", "/api/v1/health"])
    def test_is_not_left_by_probes(self, client: FlaskClient, path: str) -> None:
        with capture_logs() as logged:
            client.get(path)
        assert requests_in(logged) == []
