"""Logging in to the dashboard: whom it lets in, where it leads, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from flask import url_for
from harness.dashboard import NAMES, Browser, logged_in
from harness.services import FakeServices
from werkzeug.test import TestResponse

from gateway.access import access_of, is_page
from gateway.auth.accounts import DEVELOPMENT_ACCOUNTS, DEVELOPMENT_PASSWORDS, Account, Accounts
from gateway.auth.sessions import COOKIE
from gateway.dashboard.navigation import ENTRIES
from shared.identity import Identity, Role

# Of somebody else, whose password is known; making one takes a while.
A_HASH, A_PASSWORD = DEVELOPMENT_ACCOUNTS[1].password_hash, DEVELOPMENT_PASSWORDS["seller-1"]
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


class TestChangedAccounts:
    """Given a session, and then a gateway that has read other accounts with the same key."""

    ADA = Account(identity=Identity(subject="ada", roles=frozenset({Role.USER})), name="ada@x", password_hash=A_HASH)

    def after(self, services: FakeServices, *accounts: Account) -> TestResponse:
        before = Browser(services, accounts=Accounts([self.ADA]))
        assert before.log_in(username="ada@x", password=A_PASSWORD).status_code == 303
        cookie = before.client.get_cookie(COOKIE)
        assert cookie is not None
        later = Browser(services, accounts=Accounts(accounts))
        later.client.set_cookie(COOKIE, cookie.value)
        return later.get("/orders")

    def test_it_goes_on_where_nothing_is_different(self, services: FakeServices) -> None:
        renamed = replace(self.ADA, name="countess@x")
        assert self.after(services, renamed).status_code == 200

    @pytest.mark.parametrize(
        "change",
        [
            {"identity": Identity(subject="ada", roles=frozenset({Role.ADMIN}))},
            {"identity": Identity(subject="ada", roles=frozenset({Role.USER, Role.SELLER}), seller_id="s1")},
            {"password_hash": DEVELOPMENT_ACCOUNTS[0].password_hash},
        ],
    )
    def test_it_is_over_once_roles_or_password_are_others(self, change: Any, services: FakeServices) -> None:
        answer = self.after(services, replace(self.ADA, **change))
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login?next=/orders")

    def test_it_is_over_once_the_account_is_gone(self, services: FakeServices) -> None:
        assert self.after(services, DEVELOPMENT_ACCOUNTS[0]).status_code == 303


class TestForms:
    @pytest.mark.parametrize("role", list(Role))
    def test_every_one_of_them_is_refused_without_its_token(self, role: Role, services: FakeServices) -> None:
        browser = logged_in(role, services)
        actions = actions_of(browser, role)
        services.calls.clear()
        assert len(actions) > 2
        for path in actions:
            assert browser.client.post(path, data={"note": "forged"}).status_code == 400, path
        assert services.calls == []

    def test_without_their_token_do_nothing(self, services: FakeServices) -> None:
        browser = logged_in(Role.USER, services)
        assert browser.client.post("/logout").status_code == 400
        assert browser.get("/orders").status_code == 200

    def test_from_another_visitor_do_nothing(self, services: FakeServices) -> None:
        browser, other = logged_in(Role.USER, services), logged_in(Role.USER, services)
        assert browser.client.post("/logout", data={"csrf_token": other.form_token("/orders")}).status_code == 400


class TestNavigation:
    @pytest.mark.parametrize("role", list(Role))
    def test_everybody_has_a_first_page_and_ways_to_theirs_only(self, role: Role, services: FakeServices) -> None:
        browser = logged_in(role, services)
        app = browser.client.application
        theirs = [entry.endpoint for entry in ENTRIES if entry.role is role]
        assert browser.get("/").status_code == 302
        assert len(theirs) >= 3
        assert all(role in (access_of(app.view_functions[endpoint]) or ()) for endpoint in theirs)

    def test_whoever_is_two_things_gets_each_page_once(self, services: FakeServices) -> None:
        both = Identity(subject="ada", roles=frozenset({Role.USER, Role.SELLER}), seller_id="s1")
        account = Account(identity=both, name="ada@x", password_hash=A_HASH)
        browser = Browser(services, accounts=Accounts([account]))
        browser.log_in(username="ada@x", password=A_PASSWORD)
        page = browser.get("/orders").text
        assert page.count('href="/orders"') == 1
        assert 'href="/shop"' in page
        assert 'href="/seller/products"' in page


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

    def test_where_there_is_none_browsers_get_one_and_programs_a_problem(self, services: FakeServices) -> None:
        browser = logged_in(Role.USER, services)
        for_people = browser.get("/nowhere", headers={"Accept": "text/html,*/*;q=0.8"})
        assert for_people.status_code == 404
        assert "There is no such page" in for_people.text
        assert "script-src 'self';" in for_people.headers["Content-Security-Policy"]
        for path, accepted in (("/nowhere", "*/*"), ("/api/v1/nowhere", "text/html")):
            answer = browser.get(path, headers={"Accept": accepted})
            assert answer.content_type == "application/problem+json"

    def test_a_list_is_a_csv_file_too(self, services: FakeServices) -> None:
        services.answers["order_service.list_orders"] = {
            "orders": [{"id": "o1", "status": "PENDING", "userId": "=cmd()"}],
            "nextCursor": None,
        }
        answer = logged_in(Role.USER, services).get("/orders?format=csv")
        assert answer.headers["Content-Type"].startswith("text/csv")
        assert answer.text.splitlines()[1] == "o1,,PENDING,,,'=cmd(),,"


def actions_of(browser: Browser, role: Role) -> list[str]:
    """Paths of all forms that ``role`` may send, with ids that may be ids."""
    app = browser.client.application
    rules = [rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())]
    pages = [(rule, app.view_functions[rule.endpoint]) for rule in rules]
    theirs = [rule for rule, view in pages if is_page(view) and role in (access_of(view) or ())]
    with app.test_request_context():
        return [url_for(rule.endpoint, **dict.fromkeys(rule.arguments, str(uuid4()))) for rule in theirs]
