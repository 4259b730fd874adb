"""An operator's way from a drill to its end in a browser: trouble, dead letters, their way back, the books, the log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from harness.gateway import Gateway
from harness.waiting import wait_until
from playwright.sync_api import Page, expect
from ui_pages import keep_picture

from shared.identity import Role

QUEUE = "inventory_service.ORDER_CREATED"
LONG_MS = 60_000


@pytest.fixture
def admin(log_in: Any) -> Page:
    page: Page = log_in(Role.ADMIN)
    return page


@pytest.fixture
def nothing_on(gateway: Gateway) -> Iterator[None]:
    yield
    status, answer, _ = gateway.call("DELETE", "/admin/chaos")
    assert status == 200, answer


def yes(page: Page) -> None:
    page.get_by_role("button", name="Yes", exact=True).click()


def refuse_orders(page: Page) -> None:
    page.goto("/admin/chaos")
    page.get_by_label("Kind").select_option("consumer_refusal")
    page.get_by_label("Target").select_option(QUEUE)
    page.get_by_label("How much").fill("1")
    page.get_by_label("Why").fill("a drill")
    page.get_by_role("button", name="Switch it on").click()
    yes(page)
    expect(page.get_by_role("cell", name="consumer refusal")).to_be_visible()


def end_trouble(page: Page) -> None:
    page.goto("/admin/chaos")
    page.get_by_role("button", name="Off", exact=True).click()
    expect(page.get_by_text("Nothing is on")).to_be_visible()


def dead_orders(gateway: Gateway, page: Page, item: str, number: int) -> list[str]:
    """Orders whose first event is a dead letter, and the cause removed."""
    refuse_orders(page)
    before, ids = depth(gateway), list[str]()
    # A switch takes up to two seconds to be seen: what is placed before that is no dead letter.
    while (known := depth(gateway)) < before + number:
        ids.append(gateway.order(item, 1))
        wait_until(lambda known=known: depth(gateway) > known or is_confirmed(gateway, ids[-1]), "it went either way")
    end_trouble(page)
    wait_until(lambda: nothing_is_in_hand(gateway), "no service has it in hand any more")
    return ids


def nothing_is_in_hand(gateway: Gateway) -> bool:
    """As every service says: one that does not answer its probe may have something in hand."""
    health = gateway.get("/admin/health")
    return health["status"] == "up" and not health.get("chaos")


def depth(gateway: Gateway) -> int:
    return int(gateway.get("/admin/dead-letters")["depth"])


def is_confirmed(gateway: Gateway, order_id: str) -> bool:
    return bool(gateway.get(f"/orders/{order_id}")["status"] == "CONFIRMED")


def read_log(page: Page, action: str) -> Any:
    page.goto(f"/admin/audit?action={action}")
    return page.locator("tbody tr").first


@pytest.mark.picture
def test_a_drill_from_trouble_to_the_way_back(
    gateway: Gateway, item: str, log_in: Any, admin: Page, nothing_on: None
) -> None:
    refuse_orders(admin)
    expect(admin.locator(".chaos-banner")).to_contain_text("consumer refusal", timeout=LONG_MS)
    keep_picture(admin, "dashboard-chaos")
    admin.goto("/orders")
    expect(admin.locator(".chaos-banner")).to_contain_text(f"consumer refusal for {QUEUE}", timeout=LONG_MS)
    expect(admin.locator(".chaos-banner time")).to_contain_text("in ")

    ids = dead_orders(gateway, admin, item, 4)
    expect(admin.locator(".chaos-banner")).to_have_count(0, timeout=LONG_MS)
    admin.goto("/admin/dead-letters")
    keep_picture(admin, "dashboard-dead-letters")
    admin.get_by_role("link", name="Send back …").first.click()
    expect(admin.get_by_text("will apply").first).to_be_visible()
    keep_picture(admin, "dashboard-dry-run")
    admin.get_by_label("At most a second").fill("0.5")
    admin.get_by_role("button", name="Freeze and send").click()
    yes(admin)
    expect(admin.get_by_text("It goes on while this page is open.")).to_be_visible()
    expect(admin.locator("#ramp")).to_contain_text(re.compile("[1-9] applied"), timeout=LONG_MS)
    keep_picture(admin, "dashboard-redrive")

    # Another one drives along: one of them at a time does a step.
    other = log_in(Role.ADMIN)
    other.goto(admin.url)
    for page in (admin, other):
        expect(page.locator("#ramp h2")).to_contain_text("done", timeout=LONG_MS)
    for order_id in ids:
        gateway.ended(order_id, "CONFIRMED")
    expect(read_log(admin, "finish_redrive")).to_contain_text("finish redrive")


def test_a_redrive_is_stopped_and_resumed(gateway: Gateway, item: str, admin: Page, nothing_on: None) -> None:
    dead_orders(gateway, admin, item, 6)
    admin.goto(f"/admin/redrives/new?queue={QUEUE}")
    admin.get_by_label("Largest batch").fill("1")
    admin.get_by_label("At most a second").fill("0.2")
    admin.get_by_role("button", name="Freeze and send").click()
    yes(admin)
    admin.get_by_label("Why it is stopped").fill("the wrong ones")
    admin.get_by_role("button", name="Stop").click()
    expect(admin.locator("#ramp h2")).to_contain_text("stopped")
    expect(admin.locator("#ramp")).to_contain_text("the wrong ones")
    expect(admin.get_by_role("button", name="Stop")).to_have_count(0)
    admin.get_by_role("button", name="Resume").click()
    expect(admin.locator("#ramp h2")).to_contain_text("done", timeout=LONG_MS * 2)


def test_the_provider_behaves_as_it_is_told(gateway: Gateway, item: str, admin: Page, nothing_on: None) -> None:
    admin.goto("/admin/chaos")
    admin.get_by_label("Decline rate").fill("1")
    admin.get_by_role("button", name="Behave so").click()
    yes(admin)
    expect(admin.get_by_text("The provider behaves so from now on")).to_be_visible()
    expect(admin.locator(".chaos-banner")).to_contain_text("decline rate 1", timeout=LONG_MS)
    gateway.ended(gateway.order(item, 1), "CANCELLED")
    admin.get_by_role("button", name="Everything off").click()
    yes(admin)
    expect(admin.get_by_label("Decline rate")).to_have_value("0")
    expect(admin.locator(".chaos-banner")).to_have_count(0, timeout=LONG_MS)
    gateway.ended(gateway.order(item, 1), "CONFIRMED")


def test_letters_are_discarded_with_a_note(gateway: Gateway, item: str, admin: Page, nothing_on: None) -> None:
    dead_orders(gateway, admin, item, 1)
    admin.goto(f"/admin/dead-letters/{QUEUE}?error=chaos_refusal")
    admin.locator(".letter summary").first.click()
    expect(admin.get_by_label("Body").first).to_contain_text("items")
    admin.get_by_label("Choose letter").first.check()
    admin.get_by_label("Why").fill("sent by hand")
    admin.get_by_role("button", name="Discard").click()
    yes(admin)
    expect(admin.get_by_text("1 discarded")).to_be_visible()
    expect(read_log(admin, "discard_dead_letters")).to_contain_text("sent by hand")


@pytest.mark.picture
def test_the_board_leads_to_an_order_that_is_helped_on(gateway: Gateway, item: str, admin: Page) -> None:
    order_id = gateway.order(item, 1, userId="user-1")
    gateway.ended(order_id, "CONFIRMED")
    admin.goto(f"/admin/sagas?text={order_id}")
    keep_picture(admin, "dashboard-sagas")
    admin.locator("tbody a").first.click()
    expect(admin.get_by_text(re.compile("it is the seller.s turn"))).to_be_visible()
    admin.get_by_label("Why").fill("the customer called")
    admin.get_by_role("button", name="Cancel as operator").click()
    yes(admin)
    expect(admin.locator(".order-status")).to_have_text("cancelled")
    admin.get_by_role("link", name="What was done to it by hand").click()
    expect(admin.locator("tbody")).to_contain_text("the customer called")


def test_the_books_are_compared_to_the_end(gateway: Gateway, item: str, admin: Page) -> None:
    gateway.ended(gateway.order(item, 1), "CONFIRMED")
    admin.goto("/admin/reconcile")
    admin.get_by_label("What changed in").select_option("all there is")
    admin.get_by_role("button", name="Compare").click()
    expect(admin.locator("#pass strong")).to_be_visible(timeout=LONG_MS)
    expect(admin.locator("#pass")).to_contain_text("orders,")


@pytest.mark.picture
def test_the_overview_counts_what_is_placed(gateway: Gateway, item: str, admin: Page) -> None:
    for number in range(8):
        is_good = number % 4 > 0
        method = "tok_success" if is_good else "tok_insufficient_funds"
        gateway.ended(gateway.order(item, 1, paymentMethod=method), "CONFIRMED" if is_good else "CANCELLED")
    admin.goto("/admin")
    expect(admin.locator("svg.sparkline")).to_have_count(6)
    expect(admin.get_by_text("orders looked at")).to_be_visible()
    keep_picture(admin, "dashboard-overview")


def test_orders_are_found_by_customer(gateway: Gateway, item: str, admin: Page) -> None:
    order_id = gateway.order(item, 1, userId="the-one-and-only")
    admin.goto("/orders")
    admin.get_by_label("Customer", exact=True).fill("the-one-and-only")
    admin.get_by_role("button", name="Show").click()
    expect(admin.locator("tbody tr")).to_have_count(1)
    expect(admin.locator("tbody a").first).to_have_attribute("href", f"/orders/{order_id}")
