"""The finance view over HTTP and as a page, with services that answer at once: what is asked, told and compared."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from harness.dashboard import Browser, logged_in
from harness.login import client_of
from harness.services import FakeServices
from hypothesis import given
from hypothesis import strategies as st

from finance_service.domain import Difference
from gateway.admin.finance.comparing import Verdict, compare, overall
from gateway.admin.finance.documents import DIFFERENCES
from gateway.admin.finance.periods import LONGEST_DAYS, period_of
from gateway.openapi_examples import ANSWERS
from gateway.services import CallTimedOut, ServiceUnavailable
from gateway.settings import HttpSettings
from shared.config import Source
from shared.errors import DatabaseUnavailable, Unprocessable
from shared.identity import Role

PATH = "/api/v1/admin/finance"
TODAY = date(2026, 3, 31)
[VIEW] = ANSWERS["showFinance"].values()
STATE = ("asOf", "ageS", "isStale", "staleAfterS", "isWhole", "sources", "stream")
HOSTILE = "<script>alert(1)</script>"
EUR = {"currency": "EUR", "captured": "30.00", "refunded": "5.00"}


def ledger(currency: str = "EUR", captured: str = "30.00", refunded: str = "5.00") -> dict[str, Any]:
    """What is old enough to be certain of."""
    sums = {"captured": captured, "refunded": refunded}
    return {"currency": currency, **sums, "settled": sums}


def told(**changed: Any) -> dict[str, Any]:
    """The finance and the payment service's answers, in which everything agrees."""
    state = {name: VIEW[name] for name in STATE} | changed
    return {
        "finance_service.finance_report": {
            **state,
            "rows": VIEW["rows"],
            "totals": VIEW["totals"],
            "nextCursor": None,
        },
        "finance_service.finance_figures": {
            **state,
            "now": [EUR],
            "settled": [EUR],
            "cut": "2026-01-31T12:00:05.000000Z",
        },
        "finance_service.finance_differences": VIEW["differences"],
        "payment_service.ledger_totals": {
            "asOf": "2026-01-31T12:00:11.000000Z",
            "totals": [ledger()],
            "unbalanced": 0,
            "days": [],
        },
    }


@pytest.fixture
def services() -> FakeServices:
    fake = FakeServices()
    fake.answers |= told()
    return fake


@pytest.fixture
def client(services: FakeServices) -> FlaskClient:
    return client_of(services, settings=HttpSettings(has_finance_view=True))


def asked(services: FakeServices, method: str) -> dict[str, Any]:
    [said] = [said for _, name, said in services.calls if name == method]
    return said


class TestEndpoint:
    def test_tells_figures_and_whether_the_ledger_agrees(self, client: FlaskClient) -> None:
        answer = client.get(f"{PATH}?from=2026-01-01&to=2026-01-31").get_json()

        assert (answer["from"], answer["to"]) == ("2026-01-01", "2026-01-31")
        assert answer["rows"] == VIEW["rows"]
        assert answer["reconciliation"]["verdict"] == "agrees"
        [line] = answer["reconciliation"]["lines"]
        assert line["missing"] == line["settledMissing"] == {"captured": "0.00", "refunded": "0.00"}

    def test_passes_filters_on_and_asks_the_ledger_about_the_same_days(
        self, client: FlaskClient, services: FakeServices
    ) -> None:
        client.get(f"{PATH}?from=2026-01-01&to=2026-01-31&seller=potter&currency=EUR&limit=7")

        days = {"since": "2026-01-01", "until": "2026-01-31"}
        of = {"seller_id": "potter", "currency": "EUR"}
        assert asked(services, "finance_report") == {**days, **of, "limit": 7, "cursor": None}
        assert asked(services, "finance_differences") == {**days, **of}
        assert asked(services, "finance_figures") == {**days, "currency": "EUR"}
        assert asked(services, "ledger_totals") == {
            "since": "2026-01-01T00:00:00+00:00",
            "until": "2026-02-01T00:00:00+00:00",
            "before": "2026-01-31T12:00:05.000000Z",
            "currency": "EUR",
        }
        assert {who.subject for who in services.callers if who} == {"anna"}

    def test_asks_for_thirty_days_where_none_are_named(self, client: FlaskClient, services: FakeServices) -> None:
        answer = client.get(PATH).get_json()

        last = date.fromisoformat(answer["to"])
        assert abs(last - datetime.now(UTC).date()) <= timedelta(days=1)
        assert last - date.fromisoformat(answer["from"]) == timedelta(days=29)

    @pytest.mark.parametrize(
        "query", ["from=2026-2-1", "from=2026-02-30", "to=20260201", "from=", "currency=euro", "x=1"]
    )
    def test_refuses_what_is_no_day(self, query: str, client: FlaskClient, services: FakeServices) -> None:
        answer = client.get(f"{PATH}?{query}")
        assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_request")
        assert services.calls == []

    @pytest.mark.parametrize(
        "days", ["from=2026-02-02&to=2026-02-01", "from=2024-01-01&to=2026-01-01", "to=9999-12-31"]
    )
    def test_refuses_what_is_no_period(self, days: str, client: FlaskClient) -> None:
        answer = client.get(f"{PATH}?{days}")
        assert (answer.status_code, answer.get_json()["code"]) == (422, "unprocessable")

    def test_where_it_is_off_nobody_is_asked_and_the_way_on_is_said(self, services: FakeServices) -> None:
        answer = client_of(services).get(PATH)

        assert (answer.status_code, answer.get_json()["code"]) == (503, "finance_view_off")
        assert "ordersaga up --cdc" in answer.get_json()["detail"]
        assert services.calls == []

    def test_silence_is_said_to_be_the_finance_services(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["finance_service.finance_report"] = CallTimedOut("no answer")

        answer = client.get(PATH)
        assert (answer.status_code, answer.get_json()["code"]) == (503, "finance_view_down")

    def test_its_own_trouble_stays_what_it_is(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["finance_service.finance_figures"] = DatabaseUnavailable("away")
        assert client.get(PATH).get_json()["code"] == "database_unavailable"

    @pytest.mark.parametrize(
        "error", [CallTimedOut("no answer"), ServiceUnavailable("gone"), DatabaseUnavailable("no")]
    )
    def test_without_the_ledger_the_figures_are_there(
        self, error: Exception, client: FlaskClient, services: FakeServices
    ) -> None:
        services.answers["payment_service.ledger_totals"] = error

        answer = client.get(PATH).get_json()
        assert answer["rows"] == VIEW["rows"]
        assert (answer["reconciliation"]["verdict"], answer["reconciliation"]["lines"]) == ("unknown", [])
        assert answer["reconciliation"]["trouble"]

    def test_a_view_that_knows_nothing_yet_is_compared_with_nothing(self, services: FakeServices) -> None:
        sources = [{**source, "asOf": None, "ageS": None, "isStale": True} for source in VIEW["sources"]]
        services.answers |= told(sources=sources, asOf=None, ageS=None, isStale=True)
        services.answers["finance_service.finance_figures"] |= {"now": [], "settled": [], "cut": None}

        answer = client_of(services, settings=HttpSettings(has_finance_view=True)).get(PATH).get_json()
        assert answer["reconciliation"]["verdict"] == "unknown"

    def test_the_document_knows_every_kind_of_difference(self) -> None:
        assert set(DIFFERENCES) == set(Difference)

    @pytest.mark.parametrize(
        ("said", "expected"), [({}, False), ({"FINANCE_VIEW": "off"}, False), ({"FINANCE_VIEW": "on"}, True)]
    )
    def test_it_is_off_unless_the_installation_has_one(self, said: Mapping[str, str], expected: bool) -> None:
        assert HttpSettings.read(Source(values=said)).has_finance_view is expected


class TestComparing:
    def test_what_is_on_its_way_is_no_difference(self) -> None:
        """Given captures that the view does not know yet, and that are younger than what it is certain of."""
        now = {**ledger(), "captured": "42.00"}
        [line] = compare([EUR], [EUR], [now])
        assert (line.verdict, line.missing["captured"], line.settled["captured"]) == (Verdict.BEHIND, "12.00", "0.00")

    def test_what_both_must_know_is_one_also_while_the_view_is_old(self) -> None:
        settled = {"captured": "29.00", "refunded": "5.00"}
        [line] = compare([EUR], [EUR], [{**ledger(), "captured": "42.00", "settled": settled}])
        assert (line.verdict, line.settled["captured"]) == (Verdict.DIFFERS, "-1.00")

    def test_a_currency_that_only_one_knows(self) -> None:
        lines = compare([EUR], [EUR], [ledger(), ledger("USD", "1.00", "0.00")])
        assert [(line.currency, line.verdict) for line in lines] == [("EUR", Verdict.AGREES), ("USD", Verdict.DIFFERS)]
        assert overall(lines) is Verdict.DIFFERS
        assert compare([EUR], [EUR], [])[0].verdict is Verdict.DIFFERS

    def test_nothing_agrees_with_nothing(self) -> None:
        assert overall(compare([], [], [])) is Verdict.AGREES

    @given(st.lists(st.tuples(st.sampled_from(["EUR", "USD"]), st.integers(1, 9_999), st.booleans()), max_size=20))
    def test_a_view_that_is_only_behind_never_differs(self, moved: list[tuple[str, int, bool]]) -> None:
        """Given any movements, of which the ledger knows all and the view a first part that is cut at some moment."""

        def sums(part: list[tuple[str, int, bool]]) -> dict[str, dict[str, str]]:
            found = {}
            for currency in {name for name, _, _ in part}:
                captured = sum(cents for name, cents, is_in in part if name == currency and is_in)
                refunded = sum(cents for name, cents, is_in in part if name == currency and not is_in)
                found[currency] = {
                    "captured": f"{Decimal(captured) / 100:.2f}",
                    "refunded": f"{Decimal(refunded) / 100:.2f}",
                }
            return found

        known, cut = moved[: len(moved) * 2 // 3], moved[: len(moved) // 2]
        everything, settled = sums(moved), sums(cut)
        none = {"captured": "0.00", "refunded": "0.00"}
        lines = compare(
            [{"currency": name, **found} for name, found in sums(known).items()],
            [{"currency": name, **found} for name, found in settled.items()],
            [{"currency": name, **found, "settled": settled.get(name, none)} for name, found in everything.items()],
        )
        assert Verdict.DIFFERS not in {line.verdict for line in lines}
        assert (overall(lines) is Verdict.AGREES) == (sums(known) == everything)


class TestPeriod:
    def test_one_end_is_enough(self) -> None:
        assert period_of({"to": "2026-02-10"}, TODAY).first == date(2026, 1, 12)
        assert period_of({"from": "2026-03-30"}, TODAY).last == TODAY
        assert period_of({"from": "2026-05-01"}, TODAY).last == date(2026, 5, 1)
        assert period_of({"to": "0001-01-02"}, TODAY).first == date.min

    def test_the_longest(self) -> None:
        last = TODAY - timedelta(days=LONGEST_DAYS - 1)
        assert period_of({"from": last.isoformat(), "to": TODAY.isoformat()}, TODAY).first == last
        with pytest.raises(Unprocessable):
            period_of({"from": (last - timedelta(days=1)).isoformat(), "to": TODAY.isoformat()}, TODAY)

    def test_its_moments_are_those_of_utc(self) -> None:
        period = period_of({"from": "2026-03-01", "to": "2026-03-01"}, TODAY)
        assert period.ends_at - period.begins_at == timedelta(days=1)
        assert period.begins_at.isoformat() == "2026-03-01T00:00:00+00:00"


def page_of(services: FakeServices, query: str = "") -> str:
    browser = browser_of(services)
    answer = browser.get(f"/admin/finance{query}")
    assert answer.status_code == 200
    return answer.text


def browser_of(services: FakeServices, *, is_on: bool = True) -> Browser:
    browser = logged_in(Role.ADMIN, services)
    browser.client.application.config["ORDERSAGA_FINANCE_VIEW"] = is_on
    return browser


class TestPage:
    def test_shows_figures_age_ledger_and_differences(self, services: FakeServices) -> None:
        page = page_of(services)
        for words in (
            "As of",
            "potter",
            "20.00\N{NO-BREAK SPACE}EUR",
            ">agrees<",
            "confirmed not captured",
            "not certain",
            "By day and seller",
        ):
            assert words in page, words
        assert "are stale" not in page
        assert "were lost" not in page

    def test_warns_of_old_lost_and_unreadable(self, services: FakeServices) -> None:
        lost = {"at": "2026-01-31T11:00:00Z", "from": 3, "to": 9, "times": 1}
        stream = {**VIEW["stream"], "lost": lost, "unreadable": 2}
        services.answers |= told(isStale=True, isWhole=False, stream=stream)
        page = page_of(services)
        assert "These figures are stale: older than 1 min 0 s" in page
        assert "Changes were lost before they were read" in page
        assert "2 messages of the stream could not be read" in page

    def test_where_it_is_off_the_page_says_how_to_switch_it_on(self, services: FakeServices) -> None:
        answer = browser_of(services, is_on=False).get("/admin/finance")
        assert answer.status_code == 200
        assert "The finance view is not switched on" in answer.text
        assert "ordersaga up --cdc" in answer.text

    def test_nothing_sold_is_said(self, services: FakeServices) -> None:
        services.answers["finance_service.finance_report"] |= {"rows": [], "totals": []}
        services.answers["finance_service.finance_differences"] = {
            "certain": 0,
            "uncertain": 0,
            "isCut": False,
            "orders": [],
        }
        page = page_of(services)
        assert "Nothing was ordered and no money moved" in page
        assert "Every order that was placed or paid in these days fits" in page

    def test_a_loss_is_shown_with_its_sign(self, services: FakeServices) -> None:
        services.answers["finance_service.finance_report"]["rows"] = [{**VIEW["rows"][0], "net": "-0.50"}]
        assert "\N{MINUS SIGN}0.50" in page_of(services)

    def test_names_are_words(self, services: FakeServices) -> None:
        services.answers["finance_service.finance_report"]["rows"] = [{**VIEW["rows"][0], "sellerId": HOSTILE}]
        assert HOSTILE not in page_of(services)

    def test_filters_stay_and_lead_on(self, services: FakeServices) -> None:
        services.answers["finance_service.finance_report"]["nextCursor"] = "abc"
        page = page_of(services, "?from=2026-01-01&to=2026-01-31&seller=potter").replace("&amp;", "&")
        assert 'value="2026-01-01"' in page
        assert "/admin/finance?from=2026-01-01&to=2026-01-31&seller=potter&cursor=abc" in page

    def test_a_filter_that_makes_no_sense_is_said(self, services: FakeServices) -> None:
        assert 'role="alert">from:' in page_of(services, "?from=yesterday")

    def test_all_rows_as_csv(self, services: FakeServices) -> None:
        answer = browser_of(services).get("/admin/finance?format=csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [(row["day"], row["sellerId"], row["net"]) for row in rows] == [
            (row["day"], row["sellerId"], row["net"]) for row in VIEW["rows"]
        ]
        # No more is asked for than what is in the file.
        assert {name for _, name, _ in services.calls if name.startswith("finance_")} == {"finance_report"}

    def test_operators_are_shown_the_way(self, services: FakeServices) -> None:
        assert 'href="/admin/finance"' in page_of(services)
