"""Figures for Prometheus, the folder they are shared through, and headers that make browsers careful."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from harness.services import FakeServices

from gateway.access import public
from gateway.metrics_folder import VARIABLE, MetricsFolder
from gateway.services import CallTimedOut
from shared.errors import OrderNotFound

ORDER_ID = "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e"


@pytest.fixture
def app(client: FlaskClient) -> Flask:
    return client.application


def figure(client: FlaskClient, name: str) -> float | None:
    """As the text format shows it; None if it is not there."""
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    return values.get(name)


class TestRequests:
    def test_are_counted_by_rule_and_not_by_path(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.get_order"] = OrderNotFound("none")
        for last in "123":
            client.get(f"/api/v1/orders/{ORDER_ID[:-1]}{last}")

        labels = 'endpoint="/api/v1/orders/<order_id>",method="GET"'
        assert figure(client, f'ordersaga_http_requests_total{{{labels},status="404"}}') == 3
        assert figure(client, f"ordersaga_http_request_seconds_count{{{labels}}}") == 3

    def test_of_nobody_knows_what_are_one_line(self, client: FlaskClient) -> None:
        for method, path in (("GET", "/a"), ("GET", "/b"), ("BREW", "/c"), ("STIR", "/d")):
            client.open(path, method=method)

        name = 'ordersaga_http_requests_total{endpoint="none",method="%s",status="404"}'
        assert figure(client, name % "GET") == 2
        assert figure(client, name % "other") == 2

    def test_under_way_are_those_that_have_not_ended(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.get_order"] = RuntimeError("a bug")
        client.get(f"/api/v1/orders/{ORDER_ID}")

        # The one that asks.
        assert figure(client, "ordersaga_http_requests_in_progress") == 1


class TestCalls:
    @pytest.mark.parametrize(
        ("answer", "outcome"),
        [
            ({}, "answered"),
            (OrderNotFound("none"), "order_not_found"),
            (CallTimedOut("late"), "unknown"),
            (KeyError(), "failed"),
        ],
    )
    def test_are_counted_by_outcome(
        self, client: FlaskClient, services: FakeServices, answer: Any, outcome: str
    ) -> None:
        services.answers["order_service.get_order"] = answer
        client.get(f"/api/v1/orders/{ORDER_ID}")

        labels = f'method="order_service.get_order",outcome="{outcome}"'
        assert figure(client, f"ordersaga_rpc_call_seconds_count{{{labels}}}") == 1
        assert figure(client, "ordersaga_rpc_calls_in_progress") == 0


class TestFolder:
    def test_is_made_named_and_removed(self) -> None:
        environment: dict[str, str] = {}

        folder = MetricsFolder.prepare(environment)

        path = Path(environment[VARIABLE])
        assert path.is_dir()
        folder.remove()
        assert not path.exists()

    def test_of_a_gateway_that_was_killed_is_removed_by_the_next_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        left_behind = tmp_path / "ordersaga-metrics-left"
        left_behind.mkdir()
        environment: dict[str, str] = {}
        living = MetricsFolder.prepare(environment)
        for path in (left_behind, Path(environment[VARIABLE])):
            os.utime(path, (0, 0))

        next_one = MetricsFolder.prepare({})

        assert not left_behind.exists()
        assert len(list(tmp_path.iterdir())) == 2
        living.remove()
        next_one.remove()
        assert list(tmp_path.iterdir()) == []

    def test_that_was_given_is_emptied_and_stays(self, tmp_path: Path) -> None:
        (tmp_path / "counter_1.db").touch()
        (tmp_path / "notes.txt").touch()

        folder = MetricsFolder.prepare({VARIABLE: str(tmp_path)})
        folder.remove()

        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

    def test_keeps_the_counters_of_a_worker_that_died(self, tmp_path: Path) -> None:
        folder = MetricsFolder.prepare({VARIABLE: str(tmp_path)})
        for name in ("counter_7.db", "gauge_livesum_7.db", "gauge_livesum_8.db"):
            (tmp_path / name).touch()

        folder.forget_worker(7)

        assert sorted(path.name for path in tmp_path.iterdir()) == ["counter_7.db", "gauge_livesum_8.db"]


class TestHeaders:
    @pytest.mark.parametrize("path", ["/health/live", "/nope", "/api/v1/orders?limit=0", "/openapi.json", "/metrics"])
    def test_every_answer_is_careful(self, client: FlaskClient, path: str) -> None:
        headers = client.get(path).headers

        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"

    def test_what_the_api_answers_is_kept_by_nobody(self, client: FlaskClient) -> None:
        assert client.get("/api/v1/orders/42").headers["Cache-Control"] == "no-store"
        assert "Cache-Control" not in client.get("/health/live").headers

    def test_a_view_may_say_something_else(self, app: Flask) -> None:
        said = {"Content-Security-Policy": "script-src 'self'", "Cache-Control": "max-age=60"}
        app.add_url_rule("/api/page", "page", public(lambda: Response("", headers=said)))

        headers = app.test_client().get("/api/page").headers

        assert {name: headers[name] for name in said} == said
