"""Figures of a process: how they are named, reckoned and asked for, and that rules and dashboard know no others."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

import cdc.figures  # noqa: F401 - what registers figures has to be imported
import finance_service.figures
import inventory_service.figures
import order_service.figures
import payment_service.figures
import payment_service.psp_server
import shared.chaos.figures
import shared.inbox
import shared.messaging.figures
import shared.relaying.figures
import shared.service_probes  # noqa: F401 - what registers figures has to be imported
from gateway.metrics import Metrics
from ops.prometheus import CONFIGURATION
from order_service.states import CancelReason, Order, OrderStatus
from payment_service.figures import RATE_WINDOW_S, FailureRate
from shared import metrics, table_figures
from shared.database import Transaction, transaction
from shared.errors import BrokenRule, DatabaseUnavailable, TransientError
from shared.table_figures import OUTBOX_FIGURES, SLOT_FIGURES, TableFigure, TableFigures

TABLE_FIGURES = (
    *OUTBOX_FIGURES,
    *SLOT_FIGURES,
    *order_service.figures.FIGURES,
    *inventory_service.figures.FIGURES,
    *payment_service.figures.FIGURES,
    *finance_service.figures.FIGURES,
)
# Of Prometheus itself, of RabbitMQ's plugin, of the reconciler and of whoever injects faults.
FOREIGN = re.compile(
    r"up|rabbitmq_detailed_queue_(messages|consumers)|ordersaga_reconcile_discrepancies|ordersaga_chaos_active|"
    # A connector tells these two itself, as long as it knows them.
    r"ordersaga_cdc_lag_(seconds|bytes)"
)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def value(name: str, **labels: str) -> float:
    """As this process tells it now; 0 where it is not told."""
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def told() -> list[Metric]:
    own = list(text_string_to_metric_families(metrics.text().decode()))
    return own + list(text_string_to_metric_families(Metrics().text().decode()))


class TestNames:
    def test_follow_prometheus(self) -> None:
        """Base units, `_total` only and always behind a counter, nothing but small letters."""
        for family in told():
            assert re.fullmatch(r"[a-z][a-z_]*[a-z]", family.name), family.name
            assert not re.search(r"_(ms|milliseconds|minutes|kb|percent|count|sum|total)$", family.name), family.name
            assert family.documentation, family.name
        for figure in TABLE_FIGURES:
            assert re.fullmatch(r"ordersaga_[a-z_]*[a-z]", figure.name)
            assert not figure.name.endswith(("_total", "_count", "_sum"))

    def test_of_ours_say_whose_they_are(self) -> None:
        """But for two that the client named, and those of the provider, which is another company."""
        others = {family.name for family in told()} - {f.name for f in told() if f.name.startswith("ordersaga_")}
        assert {name for name in others if not name.startswith(("process_", "psp_"))} == {
            "payment_attempt_latency_seconds",
            "payment_failure_rate",
        }

    def test_of_labels_are_none_that_prometheus_gives_itself(self) -> None:
        """It would call ours exported_job, and so on."""
        figures = list(metrics.REGISTRY._collector_to_names)
        ours = {label for figure in figures for label in getattr(figure, "_labelnames", ())}
        ours |= {label for figure in TABLE_FIGURES for label in figure.labels}
        assert {"event", "method", "status", "flag"} <= ours
        assert not ours & {"job", "instance", "process", "replica"}

    def test_are_told_once(self) -> None:
        names = [family.name for family in told()] + [figure.name for figure in TABLE_FIGURES]
        assert len(set(names)) == len(names)


def known_series() -> set[str]:
    series = {figure.name for figure in TABLE_FIGURES} | {"ordersaga_database_up"}
    for family in told():
        match family.type:
            case "counter":
                series.add(f"{family.name}_total")
            case "histogram":
                series |= {f"{family.name}{end}" for end in ("_bucket", "_count", "_sum")}
            case _:
                series.add(family.name)
    return series


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((CONFIGURATION / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def queries_of_dashboard() -> list[str]:
    path = CONFIGURATION / "grafana" / "dashboards" / "ordersaga.json"
    panels = json.loads(path.read_text(encoding="utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def series_in(query: str) -> set[str]:
    """Names that begin like ours or foreign ones; recorded ones have colons."""
    bare = re.sub(r'"[^"]*"', '""', query)
    found = re.findall(r"(?<![\w:])(?:up|(?:ordersaga|payment|psp|rabbitmq|process)_[a-z_]+)(?![\w:(])", bare)
    return {name for name in found if not re.search(rf"\b{name}\s*(=~|!~|!=|=)\"", bare)}


class TestRulesAndDashboard:
    def test_know_no_figure_that_nobody_tells(self) -> None:
        known = known_series()
        queries = [rule["expr"] for rule in rules()] + queries_of_dashboard()
        used = set().union(*map(series_in, queries))
        assert len(used) > 40
        assert {name for name in used if name not in known and not FOREIGN.fullmatch(name)} == set()

    def test_use_only_records_that_there_are(self) -> None:
        recorded = {rule["record"] for rule in rules() if "record" in rule}
        queries = [rule["expr"] for rule in rules()] + queries_of_dashboard()
        used = {name for query in queries for name in re.findall(r"ordersaga:\w+:\w+", query)}
        assert used == recorded

    def test_each_alert_has_a_runbook_of_its_name(self) -> None:
        alerts = [rule for rule in rules() if "alert" in rule]
        assert len(alerts) >= 18
        for alert in alerts:
            kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", alert["alert"]).lower()
            assert alert["annotations"]["runbook"] == f"docs/operations.md#{kebab}"
            assert alert["annotations"]["summary"]
            assert alert["labels"]["severity"] in ("critical", "warning", "info")

    def test_each_alert_is_seen_firing_by_a_rule_test(self) -> None:
        cases = yaml.safe_load((CONFIGURATION / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
        seen = [case for test in cases for case in test.get("alert_rule_test", [])]
        firing = {case["alertname"] for case in seen if case["exp_alerts"]}
        assert firing == {rule["alert"] for rule in rules() if "alert" in rule}


class TestFailureRate:
    def test_is_the_share_of_what_ended_within_the_window(self) -> None:
        now = [0.0]
        rate = FailureRate(clock=lambda: now[0])
        assert rate.value() == 0
        rate.ended(3, 3)
        now[0] = RATE_WINDOW_S - 1
        rate.ended(1, 0)
        assert rate.value() == 0.75
        now[0] = RATE_WINDOW_S + 1
        assert rate.value() == 0
        now[0] = 3 * RATE_WINDOW_S
        assert rate.value() == 0

    def test_counts_charges_that_have_an_outcome_and_nothing_else(self) -> None:
        before = value("ordersaga_payment_attempts_ended_total", kind="CHARGE", status="FAILED")
        payment_service.figures.count_ended([("CHARGE", "FAILED"), ("CHARGE", "UNKNOWN"), ("REFUND", "SUCCEEDED")])
        assert value("ordersaga_payment_attempts_ended_total", kind="CHARGE", status="FAILED") == before + 1
        assert value("ordersaga_payment_attempts_ended_total", kind="CHARGE", status="UNKNOWN") == 0


def placed_at(moment: datetime) -> UUID:
    return UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62)


class TestOrders:
    def test_how_long_they_took_is_read_from_their_ids(self) -> None:
        order_id = placed_at(NOW - timedelta(seconds=20))
        before = value("ordersaga_saga_seconds_sum", outcome="confirmed")
        history = [{"order_id": order_id, "status": OrderStatus.CONFIRMED, "reason": None}]
        order_service.figures.count_saved(history, [], NOW)
        assert value("ordersaga_saga_seconds_sum", outcome="confirmed") - before == pytest.approx(20)

    def test_a_cancelled_one_ends_when_all_is_undone(self) -> None:
        cancelled = Order(
            id=placed_at(NOW - timedelta(seconds=9)),
            status=OrderStatus.CANCELLED,
            price=Decimal(1),
            reason=CancelReason.CUSTOMER,
        )
        settled = Order(id=cancelled.id, status=OrderStatus.CANCELLED, price=Decimal(1), settled_at=NOW)
        history = [{"order_id": cancelled.id, "status": OrderStatus.CANCELLED, "reason": CancelReason.CUSTOMER}]
        before = value("ordersaga_saga_seconds_count", outcome="cancelled")
        order_service.figures.count_saved(history, [cancelled], NOW)
        assert value("ordersaga_saga_seconds_count", outcome="cancelled") == before
        order_service.figures.count_saved([], [settled], NOW)
        # Looked at once more, it has not ended once more.
        order_service.figures.count_saved([], [settled], NOW + timedelta(seconds=1))
        assert value("ordersaga_saga_seconds_count", outcome="cancelled") == before + 1

    def test_an_id_without_a_time_tells_none(self) -> None:
        before = value("ordersaga_saga_seconds_count", outcome="fulfilled")
        history = [{"order_id": uuid4(), "status": OrderStatus.FULFILLED, "reason": None}]
        order_service.figures.count_saved(history, [], NOW)
        assert value("ordersaga_saga_seconds_count", outcome="fulfilled") == before


class FakeSession:
    def __init__(self, database: FakeDatabase) -> None:
        self._database = database

    def execute(self, statement: Any, _parameters: Any = None) -> FakeSession:
        self._database.asked += 1
        self._database.may_answer.wait(30)
        if self._database.error:
            raise self._database.error
        self._statement = str(statement)
        return self

    def fetchall(self) -> Sequence[Any]:
        return [("a", 1), ("b", 2.5)] if "labelled" in self._statement else [(7,)]


class FakeDatabase:
    """One that answers everything alike, fails, or hangs."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()

    @contextmanager
    def get_session(self, close_on_exit: bool = False) -> Iterator[Any]:
        yield FakeSession(self)


FIGURES = (
    TableFigure(name="ordersaga_plain", words="One", statement=text("select plain")),
    TableFigure(name="ordersaga_labelled", words="Two", statement=text("select labelled"), labels=("kind",)),
)


def samples(families: Iterable[Metric]) -> dict[str, float]:
    return {s.name + "".join(f":{label}" for label in s.labels.values()): s.value for f in families for s in f.samples}


class TestTables:
    def test_are_told_with_their_labels_and_remembered_for_a_moment(self) -> None:
        database = FakeDatabase()
        tables = TableFigures(database, FIGURES)
        for _ in range(3):
            assert samples(tables.collect()) == {
                "ordersaga_database_up": 1,
                "ordersaga_plain": 7,
                "ordersaga_labelled:a": 1,
                "ordersaga_labelled:b": 2.5,
            }
        assert database.asked == len(FIGURES)

    def test_of_a_database_that_is_away_say_nothing(self) -> None:
        database = FakeDatabase()
        database.error = DatabaseUnavailable("away")
        assert samples(TableFigures(database, FIGURES).collect()) == {"ordersaga_database_up": 0}

    def test_that_are_slow_to_count_are_left_out(self) -> None:
        database = FakeDatabase()
        database.error = TransientError("statement timeout")
        assert samples(TableFigures(database, FIGURES).collect()) == {"ordersaga_database_up": 1}

    def test_of_a_database_that_hangs_keep_nobody_waiting_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And there is one question under way, however many ask."""
        monkeypatch.setattr(table_figures, "ANSWER_LIMIT_S", 0.01)
        database = FakeDatabase()
        database.may_answer.clear()
        tables = TableFigures(database, FIGURES)
        for _ in range(3):
            assert samples(tables.collect()) == {"ordersaga_database_up": 0}
        assert database.asked == 1
        database.may_answer.set()


class TestAfterCommit:
    def test_counts_once_committed(self) -> None:
        counted: list[str] = []
        with transaction(FakeDatabase()) as tx:
            tx.after_commit(lambda: counted.append("x"))
            assert counted == []
        assert counted == ["x"]

    def test_counts_nothing_when_it_was_not(self) -> None:
        counted: list[str] = []

        def fail(tx: Transaction) -> None:
            tx.after_commit(lambda: counted.append("x"))
            raise BrokenRule("no")

        with pytest.raises(BrokenRule), transaction(FakeDatabase()) as tx:
            fail(tx)
        assert counted == []
