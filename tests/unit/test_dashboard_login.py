"""Logging in to the dashboard: whom it lets in, where it leads, and what it refuses."""

from __future__ import annotations

import pytest
from harness.dashboard import NAMES, Browser, logged_in
from harness.services import FakeServices

from gateway.auth.sessions import COOKIE
from shared.identity import Role

NO_ORDERS = {"orders": [], "nextCursor": None}


@pytest.fixture
def services() -> FakeServices:
    fake = FakeServices()
    fake.answers["order_service.list_orders"] = NO_ORDERS
    return fake


class TestWayIn:
    def test_a_stranger_is_sent_to_the_login_and_back(self, services: FakeServices) -> None:
        browser = Browser(services)

        sent = browser.get("/orders?status=PENDING")
        assert (sent.status_code, sent.headers["Location"]) == (303, "/login?next=/orders?status%3DPENDING")

        back = browser.log_in(next="/orders?status=PENDING")
        assert (back.status_code, back.headers["Location"]) == (303, "/orders?status=PENDING")
        assert browser.get("/orders").status_code == 200

    def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(self) -> None:
        cookie = Browser(is_secure=True).log_in().headers["Set-Cookie"]
        assert cookie.startswith(f"{COOKIE}=")
        for flag in ("HttpOnly", "SameSite=Lax", "Secure"):
            assert flag in cookie

    @pytest.mark.parametrize(
        "address", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/a\nb", ""]
    )
    def test_leads_nowhere_else(self, address: str, services: FakeServices) -> None:
        assert Browser(services).log_in(next=address).headers["Location"] == "/"

    def test_a_wrong_password_is_told_without_saying_what_is_wrong(self) -> None:
        for fields in ({"password": "guessed"}, {"username": "nobody@ordersaga.example"}):
            answer = Browser().log_in(**fields)
            assert answer.status_code == 401
            assert "User name or password is wrong" in answer.text
            assert "guessed" not in answer.text

    def test_accounts_of_development_are_shown_in_development_only(self) -> None:
        assert NAMES[Role.ADMIN] in Browser(shows_accounts=True).get("/login").text
        assert NAMES[Role.ADMIN] not in Browser(shows_accounts=False).get("/login").text

    def test_guesses_are_limited(self) -> None:
        browser = Browser()
        answers = [browser.log_in(password="guessed").status_code for _ in range(11)]
        assert answers == [401] * 10 + [429]


class TestSession:
    def test_ends_with_the_logout(self, services: FakeServices) -> None:
        browser = logged_in(Role.USER, services)
        assert browser.post("/logout", seen_on="/orders").headers["Location"] == "/login"
        assert browser.get("/orders").status_code == 303

    def test_opens_pages_and_not_the_api(self, services: FakeServices) -> None:
        assert logged_in(Role.USER, services).get("/api/v1/orders").status_code == 401

    def test_a_token_opens_the_api_and_no_pages(self, services: FakeServices) -> None:
        stranger = Browser(services)
        assert stranger.get("/orders", headers={"Authorization": "Bearer x"}).status_code == 303

    def test_a_cookie_of_ones_own_making_is_none(self, services: FakeServices) -> None:
        browser = Browser(services)
        browser.client.set_cookie(COOKIE, "eyJpZGVudGl0eSI6IiJ9.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb")
        assert browser.get("/orders").status_code == 303


class TestForms:
    def test_without_their_token_do_nothing(self, services: FakeServices) -> None:
        browser = logged_in(Role.USER, services)
        assert browser.client.post("/logout").status_code == 400
        assert browser.get("/orders").status_code == 200

    def test_from_another_visitor_do_nothing(self, services: FakeServices) -> None:
        browser, other = logged_in(Role.USER, services), logged_in(Role.USER, services)
        assert browser.client.post("/logout", data={"csrf_token": other.form_token("/orders")}).status_code == 400


class TestPages:
    def test_say_what_a_browser_may_load(self, services: FakeServices) -> None:
        headers = logged_in(Role.USER, services).get("/orders").headers
        assert "script-src 'self';" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"

    def test_keep_their_files_for_a_year_and_compressed(self) -> None:
        browser = Browser()
        page = browser.get("/login").text
        address = page.split('rel="stylesheet" href="')[1].split('"')[0]
        answer = browser.get(address, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Content-Encoding"] == "gzip"
        assert "immutable" in answer.headers["Cache-Control"]
        assert len(answer.data) < 100_000
        assert browser.get(address.replace("/static/", "/static/0")).status_code == 404

    def test_a_list_is_a_csv_file_too(self, services: FakeServices) -> None:
        services.answers["order_service.list_orders"] = {
            "orders": [{"id": "o1", "status": "PENDING", "userId": "=cmd()"}],
            "nextCursor": None,
        }
        answer = logged_in(Role.USER, services).get("/orders?format=csv")
        assert answer.headers["Content-Type"].startswith("text/csv")
        assert answer.text.splitlines()[1] == "o1,,PENDING,,,'=cmd(),,"
