"""What somebody who is logged in cannot do in a browser: forge a form, or touch what belongs to somebody else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from harness.gateway import Gateway
from playwright.sync_api import APIResponse, Browser, Page, expect

from gateway.auth.sessions import COOKIE
from shared.identity import Role

OTHER_SHOP, OTHER_NAME = "another-shop", "A rug of another shop"
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


@dataclass(frozen=True, kw_only=True)
class Things:
    """``item`` and ``order`` are those of the people who log in, the others somebody else's."""

    item: str
    order: str
    other_item: str
    other_order: str


@pytest.fixture(scope="module")
def things(gateway: Gateway) -> Things:
    item, other_item = gateway.product(50), gateway.product(50, sellerId=OTHER_SHOP, name=OTHER_NAME)
    found = Things(
        item=item,
        order=gateway.order(item, userId="user-1"),
        other_item=other_item,
        other_order=gateway.order(other_item, userId="somebody-else"),
    )
    for order_id in (found.order, found.other_order):
        gateway.ended(order_id, "CONFIRMED")
    return found


# By role: what would change something if its form were believed.
FORMS: dict[Role, dict[str, dict[str, str]]] = {
    Role.USER: {
        "/shop/cart": {"item": "{item}", "quantity": "1"},
        "/orders/{order}/cancel": {},
        "/logout": {},
    },
    Role.SELLER: {
        "/seller/products/{item}": {"name": "Forged", "price": "0.01", "active": "yes"},
        "/seller/products/{item}/adjust": {"delta": "-1", "reason": "forged"},
        "/seller/orders/ship": {"order": "{order}"},
        "/orders/{order}/cancel": {},
    },
    Role.ADMIN: {
        "/admin/chaos": {"kind": "psp_failure", "target": "psp", "amount": "1", "note": "forged"},
        "/admin/chaos/provider": {"failure_rate": "1", "before:failure_rate": "0"},
        "/admin/sagas/{order}/help": {"what": "cancel", "note": "forged"},
        "/admin/redrives": {"first": "1"},
        "/seller/products/{item}/adjust": {"delta": "-1", "reason": "forged"},
    },
}

# By role: pages and forms of what is not theirs.
FOREIGN_PAGES = {
    Role.USER: (
        "/orders/{other_order}",
        "/orders/{other_order}/live",
        "/orders/{other_order}/events",
        "/orders/{other_order}/pay",
        "/seller/products/{item}",
        "/admin/audit",
    ),
    Role.SELLER: (
        "/orders/{other_order}",
        "/orders/{other_order}/events",
        "/orders/{order}/pay",
        "/seller/products/{other_item}",
        "/seller/products/{other_item}/movements",
        "/cart",
        "/admin/chaos",
    ),
    Role.ADMIN: ("/cart", "/checkout", "/orders/{order}/pay", "/seller/orders"),
}
FOREIGN_FORMS: dict[Role, dict[str, dict[str, str]]] = {
    Role.USER: {"/orders/{other_order}/cancel": {}, "/admin/sagas/{order}/help": {"what": "cancel", "note": "x"}},
    Role.SELLER: {
        "/seller/products/{other_item}": {"name": "Mine", "price": "0.01", "active": "yes"},
        "/seller/products/{other_item}/adjust": {"delta": "-50", "reason": "mine"},
        "/orders/{other_order}/fulfil": {},
        "/seller/orders/ship": {"order": "{other_order}"},
    },
    Role.ADMIN: {"/orders/{order}/fulfil": {}, "/seller/orders/ship": {"order": "{order}"}},
}


def form_token(page: Page) -> str:
    found = _TOKEN.search(page.content())
    assert found is not None
    return found[1]


def nothing_has_changed(gateway: Gateway, things: Things) -> None:
    for order_id in (things.order, things.other_order):
        assert gateway.get(f"/orders/{order_id}")["status"] == "CONFIRMED"
    for item, name in ((things.item, "Cup"), (things.other_item, OTHER_NAME)):
        product = gateway.get(f"/products/{item}")
        assert (product["onHand"], product["name"], product["price"]) == (50, name, "10.00")
    chaos = gateway.get("/admin/chaos")
    assert chaos["switches"] == []
    assert all(setting["value"] == setting["default"] for setting in chaos["behaviour"])


@pytest.mark.parametrize("role", list(Role))
class TestEachRole:
    def test_a_form_without_its_token_or_with_another_visitors_does_nothing(
        self, role: Role, gateway: Gateway, things: Things, log_in: Any
    ) -> None:
        page, other = log_in(role), log_in(role)
        forgeries = ({}, {"csrf_token": form_token(other)}, {"csrf_token": "x"})
        for path, fields in FORMS[role].items():
            for forged in forgeries:
                answer = posted(page, path, things, {**fields, **forged})
                assert answer.status == 400, path
                assert "Nothing was done" in answer.text(), path
        page.reload()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        nothing_has_changed(gateway, things)

    def test_a_page_of_somebody_elses_is_not_shown(self, role: Role, things: Things, log_in: Any) -> None:
        page = log_in(role)
        for path in FOREIGN_PAGES[role]:
            answer = page.goto(path.format(**vars(things)))
            assert answer.status in (403, 404), path
            for theirs in (OTHER_NAME, "somebody-else"):
                assert theirs not in answer.text(), path

    def test_a_genuine_form_for_what_is_somebody_elses_does_nothing(
        self, role: Role, gateway: Gateway, things: Things, log_in: Any
    ) -> None:
        page = log_in(role)
        for path, fields in FOREIGN_FORMS[role].items():
            answer = posted(page, path, things, {**fields, "csrf_token": form_token(page)})
            # Where several may be chosen at once, a refusal is a message on the page that one is led back to.
            is_one_of_several = path == "/seller/orders/ship" and role is Role.SELLER
            assert answer.status in ((303,) if is_one_of_several else (403, 404)), path
        nothing_has_changed(gateway, things)


def posted(page: Page, path: str, things: Things, fields: dict[str, str]) -> APIResponse:
    """As a script would that has the browser's cookies."""
    said = {name: text.format(**vars(things)) for name, text in fields.items()}
    said["idempotency_key"] = uuid4().hex
    return page.request.post(path.format(**vars(things)), form=said, max_redirects=0)


def test_no_session_goes_along_with_another_sites_form(
    chromium: Browser, gateway: Gateway, things: Things, dashboard_url: str, log_in: Any
) -> None:
    """Given another site (this machine under another name) with a form for ours, then it arrives as nobody's."""
    state = log_in(Role.USER).context.storage_state()
    elsewhere, bait = dashboard_url.replace("127.0.0.1", "localhost"), forged_page(dashboard_url, things)
    with chromium.new_context(storage_state=state) as context:
        page = context.new_page()
        page.route("**/prizes", lambda route: route.fulfill(body=bait, content_type="text/html"))
        page.goto(f"{elsewhere}/prizes")
        with page.expect_request(lambda asked: asked.method == "POST") as sent:
            page.get_by_role("button").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
        assert COOKIE not in sent.value.all_headers().get("cookie", "")
        # The session itself is a good one.
        page.goto(f"{dashboard_url}/orders")
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
    nothing_has_changed(gateway, things)


def forged_page(address: str, things: Things) -> str:
    return f'<form method="post" action="{address}/orders/{things.order}/cancel"><button>Win a prize</button></form>'
