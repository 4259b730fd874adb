"""The operators' pages with services and a broker that answer at once: who sees them, what they ask, what they show."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, ClassVar

import pika
import pytest
from harness.audit import AuditServices
from harness.dashboard import Browser, logged_in
from harness.login import client_of

from gateway.access import access_of, is_page
from gateway.admin.desk import register_desk
from gateway.dashboard import admin
from gateway.dashboard.charts import HEIGHT, sparkline
from gateway.services import ALL_SERVICES, ServiceUnavailable
from shared.errors import BrokerUnavailable, SagaNotNudgeable
from shared.identity import Role
from shared.messaging.dead_letters import Moved, Stop
from shared.messaging.fingerprints import fingerprint
from shared.messaging.letters import Letter

ORDER = "01a214ee-bc8e-72a8-afa8-ffc5d434af6e"
RUN = "01a21672-4c88-76b2-8f84-f0a60e1e06d6"
QUEUE = "inventory_service.ORDER_CREATED"
AT = "2026-01-01T12:00:00.000Z"
HOSTILE = "<script>alert(1)</script>"
AWAY = ServiceUnavailable("no answer")
PAGES = (
    "/admin",
    "/admin/overview",
    "/admin/sagas",
    "/admin/dead-letters",
    f"/admin/dead-letters/{QUEUE}",
    "/admin/redrives",
    "/admin/redrives/new",
    "/admin/redrives/forecast",
    f"/admin/redrives/{RUN}/progress",
    "/admin/reconcile",
    "/admin/reconcile/page?ago=3600",
    "/admin/chaos",
    "/admin/chaos/banner",
    "/admin/audit",
    "/admin/health",
    "/admin/health/live",
    "/admin/finance",
    f"/admin/sagas/{ORDER}/expected",
)

MINUTE = {"at": AT, "placed": 60, "well": 30, "cancelled": 10, "underWay": 0, "medianS": 0.2, "slowS": 0.9}
OVERVIEW = {
    "asOf": AT,
    "minutes": [MINUTE, MINUTE],
    "total": {"placed": 120, "well": 60, "cancelled": 20, "underWay": 0, "medianS": 0.2, "slowS": 0.9},
    "unfinished": {"PENDING": 3, "RESERVED": 0, "CANCELLED": 0},
    "flagged": {"refund_failed": 2},
    "overdue": 0,
}
SAGA = {
    "orderId": ORDER,
    "status": "PENDING",
    "reason": None,
    "userId": HOSTILE,
    "sellerId": "s1",
    "waitsFor": "inventory",
    "step": "answer",
    "since": AT,
    "until": AT,
    "flag": "pending_overdue",
    "startedAt": AT,
    "correlationId": "req-1",
}
LETTERS = {
    "selected": 3,
    "sending": 0,
    "sent": 1,
    "applied": 6,
    "failedAgain": 0,
    "unknown": 0,
    "gone": 0,
    "leftOut": 0,
}
REDRIVE: dict[str, Any] = {
    "id": RUN,
    "state": "RUNNING",
    "reason": None,
    "detail": HOSTILE,
    "filter": {},
    "pace": {"first": 1, "factor": 2.0, "most": 100, "perSecond": 50.0},
    "total": 10,
    "letters": LETTERS,
    "nextBatch": 4,
    "createdBy": "ada",
    "createdAt": AT,
    "updatedAt": AT,
    "endedAt": None,
    "troubled": [],
}


def letter(body: bytes = b"{}", **headers: Any) -> Letter:
    said = {"x-error-code": "invalid_payload", "x-error": HOSTILE, "x-failed-at": "yesterday", **headers}
    return Letter(body=body, properties=pika.BasicProperties(headers=said))


class Desk:
    """Holds what it is given; raises ``trouble`` if there is any."""

    def __init__(self, *letters: Letter) -> None:
        self.letters = list(letters)
        self.discarded: list[list[str]] = []
        self.trouble: Exception | None = None

    def _look(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def is_reachable(self) -> bool:
        return self.trouble is None

    def depths(self) -> dict[str, int | None]:
        self._look()
        return {QUEUE: len(self.letters)}

    def backlogs(self) -> dict[str, int | None]:
        self._look()
        return {QUEUE: 5}

    def depth(self, _queue: str) -> int:
        self._look()
        return len(self.letters)

    def each(self, _queue: str, see: Any) -> list[Any]:
        self._look()
        return [seen for one in self.letters if (seen := see(one)) is not None]

    def unsendable(self, _letter: Letter, _queue: str) -> Stop | None:
        return None

    def discard_these(self, _queue: str, prints: Any) -> Moved:
        self.discarded.append(list(prints))
        return Moved(events=[None for _ in prints])


@pytest.fixture
def services() -> AuditServices:
    fake = AuditServices()
    fake.answers |= {
        "order_service.overview": OVERVIEW,
        "order_service.list_sagas": {"sagas": [SAGA], "nextCursor": None, "asOf": AT},
        "order_service.get_saga": {**SAGA, "isArchived": False, "atDeadline": "flag", "expected": []},
        "order_service.list_redrives": {"redrives": [REDRIVE], "nextCursor": None},
        "order_service.get_redrive": REDRIVE,
        "payment_service.provider_behaviour": {"behaviour": []},
        **{f"{name}.reconcile_backlog": {"events": 2, "oldestS": 1.5} for name in ALL_SERVICES},
        **{f"{name}.list_chaos": [] for name in ALL_SERVICES},
        **{f"{name}.health": {"database": "up", "broker": "up"} for name in ALL_SERVICES},
    }
    return fake


@pytest.fixture
def desk() -> Desk:
    return Desk(letter())


@pytest.fixture
def browser(services: AuditServices, desk: Desk) -> Browser:
    found = logged_in(Role.ADMIN, services, management_url="http://broker.example/")
    register_desk(found.client.application, desk)
    return found


def asked(services: AuditServices, method: str) -> list[dict[str, Any]]:
    return [said for _, name, said in services.calls if name == method]


class TestWalls:
    def test_every_page_is_for_operators_alone(self, services: AuditServices) -> None:
        app = client_of(services).application
        views = [app.view_functions[rule.endpoint] for rule in app.url_map.iter_rules() if rule.rule[:6] == "/admin"]

        assert len(views) > len(PAGES)
        assert all(is_page(view) and access_of(view) == frozenset({Role.ADMIN}) for view in views)

    @pytest.mark.parametrize("role", [Role.USER, Role.SELLER])
    def test_others_get_none_of_them(self, role: Role, services: AuditServices) -> None:
        browser = logged_in(role, services)
        services.calls.clear()

        assert {browser.get(path).status_code for path in PAGES} == {403}
        assert services.calls == []

    def test_others_are_not_shown_the_ways(self, services: AuditServices) -> None:
        services.answers["order_service.list_orders"] = {"orders": [], "nextCursor": None}

        assert "/admin" not in logged_in(Role.USER, services).get("/orders").text


class TestTrouble:
    def test_every_page_is_there_while_nobody_answers(
        self, browser: Browser, services: AuditServices, desk: Desk
    ) -> None:
        services.answers = defaultdict(lambda: AWAY)
        desk.trouble = BrokerUnavailable("the broker does not answer")

        for path in PAGES:
            answer = browser.get(path)
            assert answer.status_code == 200, path
            assert "<title>Internal" not in answer.text

    def test_one_that_is_away_does_not_hide_the_others(self, browser: Browser, services: AuditServices) -> None:
        services.answers["order_service.overview"] = AWAY

        page = browser.get("/admin").text
        assert "Orders: Service unavailable" in page
        assert "2 waiting" in page

    def test_a_filter_that_makes_no_sense_is_said(self, browser: Browser) -> None:
        page = browser.get("/admin/audit?since=yesterday")
        assert page.status_code == 200
        assert 'role="alert">since:' in page.text


class TestOverview:
    def test_shows_rates_shares_and_what_waits(self, browser: Browser) -> None:
        page = browser.get("/admin").text
        for words in (
            "120 in 2 minutes",
            "75&nbsp;%",
            "25 % cancelled",
            "900 ms",
            "2 waiting",
            "http://broker.example/",
        ):
            assert words in page, words
        assert page.count('<svg class="sparkline"') == 6

    def test_remembers_what_the_page_has_seen(self, browser: Browser) -> None:
        page = browser.get("/admin/overview?queued=1,2,-,%22%3E,4").text
        assert "queued=1,2,-,-,4,5" in page.replace("%2C", ",")

    def test_forgets_what_is_long_ago(self, browser: Browser) -> None:
        page = browser.get("/admin/overview?dead=" + ",".join(["7"] * 500)).text
        assert page.replace("%2C", ",").count("7,") < 100


class TestSparkline:
    def test_a_gap_is_a_gap(self) -> None:
        drawn = sparkline([1, 2, None, 3], "Waiting")
        assert drawn.count("<polyline") == 2

    def test_nothing_and_zeroes_are_drawn_at_the_ground(self) -> None:
        assert "<polyline" not in sparkline([], "Nothing")
        assert f",{HEIGHT - 1}" in sparkline([0, 0], "Zero").split("polyline")[1].replace(".0", "")

    def test_words_are_words(self) -> None:
        assert HOSTILE not in sparkline([1], HOSTILE)


class TestSagas:
    def test_the_board_leads_to_the_orders_and_escapes(self, browser: Browser, services: AuditServices) -> None:
        page = browser.get("/admin/sagas?state=stuck&waitsFor=inventory&since=2026-01-01T12:00").text
        assert f'href="/orders/{ORDER}"' in page
        assert HOSTILE not in page
        (said,) = asked(services, "list_sagas")
        assert said["state"] == "stuck"
        assert said["waits_for"] == "inventory"
        assert said["since"] == "2026-01-01T12:00Z"

    def test_the_board_is_a_file_too(self, browser: Browser) -> None:
        lines = browser.get("/admin/sagas?format=csv").text.splitlines()
        assert lines[1].startswith(f"{ORDER},PENDING")

    def test_helps_with_a_note_and_a_key(self, browser: Browser, services: AuditServices) -> None:
        services.answers["order_service.nudge_saga"] = {"saga": SAGA, "replayed": False}
        answer = browser.post(
            f"/admin/sagas/{ORDER}/help", seen_on="/admin/sagas", what="nudge", note="ticket 1", idempotency_key="k"
        )
        assert answer.headers["Location"] == f"/orders/{ORDER}"
        (said,) = asked(services, "nudge_saga")
        assert (said["order_id"], said["note"], said["idempotency_key"]) == (ORDER, "ticket 1", "nudge:k")

    def test_a_refusal_is_said_where_it_was_asked(self, browser: Browser, services: AuditServices) -> None:
        services.answers["order_service.nudge_saga"] = SagaNotNudgeable("nothing waits")
        browser.post(f"/admin/sagas/{ORDER}/help", seen_on="/admin/sagas", what="nudge", note="x")
        assert "nothing waits" in browser.get("/admin/sagas").text

    def test_nothing_else_is_done(self, browser: Browser, services: AuditServices) -> None:
        services.calls.clear()
        browser.post(f"/admin/sagas/{ORDER}/help", seen_on="/admin/sagas", what="erase", note="x")
        assert {name for _, name, _ in services.calls} <= {"list_sagas", "health"}


class TestDeadLetters:
    def test_groups_and_letters_are_shown_whatever_they_hold(self, browser: Browser) -> None:
        for path in ("/admin/dead-letters", f"/admin/dead-letters/{QUEUE}"):
            page = browser.get(path).text
            assert "invalid_payload" in page
            assert HOSTILE not in page
            assert "&lt;script&gt;" in page

    def test_chosen_ones_are_discarded_with_a_note(self, browser: Browser, services: AuditServices, desk: Desk) -> None:
        id_ = fingerprint(desk.letters[0])
        fields = {"letter": id_, "note": "ticket 2", "idempotency_key": "k"}
        browser.post(f"/admin/dead-letters/{QUEUE}/discard", seen_on=f"/admin/dead-letters/{QUEUE}", **fields)
        assert desk.discarded == [[id_]]
        outcome, request = services.entries
        assert request["before"]["note"] == "ticket 2"
        assert outcome["after"]["done"] == 1

    def test_the_same_form_twice_discards_once(self, browser: Browser, desk: Desk) -> None:
        fields = {"all": "yes", "note": "ticket 3", "idempotency_key": "k"}
        for _ in range(2):
            browser.post(f"/admin/dead-letters/{QUEUE}/discard", seen_on=f"/admin/dead-letters/{QUEUE}", **fields)
        assert len(desk.discarded) == 1

    def test_none_without_a_note(self, browser: Browser, desk: Desk) -> None:
        fields = {"all": "yes", "note": " "}
        browser.post(f"/admin/dead-letters/{QUEUE}/discard", seen_on=f"/admin/dead-letters/{QUEUE}", **fields)
        assert desk.discarded == []


class TestRedrives:
    def test_a_selection_is_frozen_and_driven(self, browser: Browser, services: AuditServices) -> None:
        services.answers["order_service.create_redrive"] = {"redrive": REDRIVE, "replayed": False}
        fields = {"queue": QUEUE, "first": "2", "factor": "1.5", "most": "", "max": "", "idempotency_key": "k"}
        answer = browser.post("/admin/redrives", seen_on="/admin/redrives/new", **fields)
        assert answer.headers["Location"] == f"/admin/redrives/{RUN}?drive=yes"
        (said,) = asked(services, "create_redrive")
        assert said["wanted"]["filter"] == {"queue": QUEUE}
        assert said["wanted"]["pace"] == {"first": 2, "factor": 1.5}
        assert len(said["wanted"]["letters"]) == 1

    def test_a_pace_that_makes_no_sense_is_refused(self, browser: Browser, services: AuditServices) -> None:
        answer = browser.post("/admin/redrives", seen_on="/admin/redrives/new", first="many", factor="2")
        assert answer.status_code == 422
        assert asked(services, "create_redrive") == []

    def test_only_the_page_that_drives_asks_for_steps(self, browser: Browser) -> None:
        watching, driving = (browser.get(f"/admin/redrives/{RUN}{query}").text for query in ("", "?drive=yes"))
        assert "advance" not in watching
        assert f'hx-post="/admin/redrives/{RUN}/advance"' in driving
        assert HOSTILE not in driving

    def test_another_driver_is_waited_for(self, browser: Browser, services: AuditServices) -> None:
        services.answers["order_service.claim_redrive"] = {
            "redrive": REDRIVE,
            "step": "busy",
            "waitS": 2.0,
            "lease": None,
            "letters": [],
        }
        page = browser.post(f"/admin/redrives/{RUN}/advance", seen_on="/admin/redrives/new").text
        assert "Another page drives it" in page
        assert 'hx-trigger="load delay:2000ms"' in page

    def test_a_step_that_fails_is_tried_again(self, browser: Browser, services: AuditServices) -> None:
        services.answers["order_service.claim_redrive"] = AWAY
        page = browser.post(f"/admin/redrives/{RUN}/advance", seen_on="/admin/redrives/new").text
        assert 'role="alert"' in page
        assert 'hx-trigger="load delay:5000ms"' in page

    def test_one_that_has_ended_is_left_alone(self, browser: Browser, services: AuditServices) -> None:
        services.answers["order_service.get_redrive"] = {**REDRIVE, "state": "STOPPED", "reason": "failed_again"}
        page = browser.get(f"/admin/redrives/{RUN}?drive=yes").text
        assert "hx-post" not in page
        assert "Resume" in page


class TestReconcile:
    FOUND: ClassVar[Any] = {
        "code": "stock_held_for_cancelled",
        "meaning": "stock is held",
        "orderId": ORDER,
        "subject": None,
        "says": {"order": HOSTILE},
        "isSafe": True,
        "command": "ordersaga reconcile",
    }

    def page(self, **more: Any) -> Any:
        return {
            "stage": "goods",
            "checked": {"orders": 5},
            "discrepancies": [],
            "unsettled": [],
            "nextCursor": "abc",
            "watermark": None,
            **more,
        }

    def test_goes_on_and_counts(self, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(admin.reconcile, "page_of_pass", lambda _query: self.page(discrepancies=[self.FOUND]))
        page = browser.get("/admin/reconcile/page?cursor=xyz&orders=10").text
        assert "orders=15" in page
        assert "cursor=abc" in page
        assert 'value="stock_held_for_cancelled"' in page
        assert HOSTILE not in page

    def test_ends(self, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(admin.reconcile, "page_of_pass", lambda _query: self.page(nextCursor=None))
        page = browser.get("/admin/reconcile/page?cursor=xyz").text
        assert "Nothing differs." in page
        assert "hx-get" not in page

    def test_what_is_not_safe_has_no_button(self, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
        unsafe = {**self.FOUND, "isSafe": False}
        monkeypatch.setattr(admin.reconcile, "page_of_pass", lambda _query: self.page(discrepancies=[unsafe]))
        page = browser.get("/admin/reconcile/page?cursor=xyz").text
        assert "<form" not in page
        assert "ordersaga reconcile" in page


class TestChaos:
    SWITCH: ClassVar[Any] = {
        "id": RUN,
        "kind": "relay_pause",
        "target": "order_service",
        "amount": 0,
        "note": HOSTILE,
        "setBy": "ada",
        "setAt": AT,
        "until": AT,
        "remainingS": 9.0,
    }

    def test_is_seen_on_every_page_of_an_operator(self, browser: Browser, services: AuditServices) -> None:
        mark = {"kind": "relay_pause", "target": "order_service", "until": AT}
        services.answers["order_service.health"] = {"database": "up", "broker": "up", "chaos": [mark]}
        services.answers["order_service.list_orders"] = {"orders": [], "nextCursor": None}
        assert "relay pause for order_service" in browser.get("/admin/chaos/banner").text
        assert "relay pause for order_service" in browser.get("/orders").text

    def test_no_page_waits_for_it(self, browser: Browser, services: AuditServices) -> None:
        services.calls.clear()
        assert browser.get("/admin/reconcile").status_code == 200
        assert services.calls == []

    def test_services_are_asked_once_in_a_second(self, browser: Browser, services: AuditServices) -> None:
        services.calls.clear()
        for _ in range(5):
            browser.get("/admin/chaos/banner")
        assert len(asked(services, "health")) == len(ALL_SERVICES)

    def test_is_switched_on_by_the_form(self, browser: Browser, services: AuditServices) -> None:
        services.answers["payment_service.set_chaos"] = {**self.SWITCH, "kind": "psp_failure", "target": "psp"}
        fields = {"kind": "psp_failure", "target": "psp", "amount": "0.5", "durationS": "60", "note": "drill"}
        answer = browser.post("/admin/chaos", seen_on="/admin/chaos", **fields)
        assert answer.headers["Location"] == "/admin/chaos"
        (said,) = asked(services, "set_chaos")
        assert said["switch"] == {**fields, "amount": 0.5, "durationS": 60.0}

    def test_a_form_that_makes_no_sense_keeps_what_was_typed(self, browser: Browser, services: AuditServices) -> None:
        answer = browser.post("/admin/chaos", seen_on="/admin/chaos", kind="psp_failure", amount="much", note="drill")
        assert answer.status_code == 422
        assert "drill" in answer.text
        assert asked(services, "set_chaos") == []

    def test_is_switched_off(self, browser: Browser, services: AuditServices) -> None:
        services.answers |= {f"{name}.clear_chaos": [] for name in ALL_SERVICES}
        services.answers["order_service.clear_chaos"] = [self.SWITCH]
        services.answers["order_service.list_chaos"] = [self.SWITCH]
        page = browser.get("/admin/chaos").text
        assert f"/admin/chaos/{RUN}/off" in page
        assert HOSTILE not in page
        browser.post(f"/admin/chaos/{RUN}/off", seen_on="/admin/chaos")
        assert {said["switch_id"] for said in asked(services, "clear_chaos")} == {RUN}


class TestAudit:
    def test_is_filtered_and_exported(self, browser: Browser, services: AuditServices) -> None:
        services.answers |= {f"{name}.list_audit": {"entries": [], "nextCursor": None} for name in ALL_SERVICES}
        services.calls.clear()
        assert browser.get("/admin/audit?actor=ada&objectType=order").status_code == 200
        said = asked(services, "list_audit")
        assert [(one["actor"], one["object_type"]) for one in said] == [("ada", "order")] * 2
        assert browser.get("/admin/audit?format=csv").text.startswith("at,service,actor")


class TestHealth:
    def test_says_who_is_down(self, browser: Browser, services: AuditServices) -> None:
        services.answers["inventory_service.health"] = AWAY
        page = browser.get("/admin/health").text
        assert "service unavailable" in page
        assert ">down<" in page
