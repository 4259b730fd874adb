"""What holds of every page: for keyboards and screen readers, dark rooms, phones and slow lines."""

from __future__ import annotations

import re
from typing import Any

import pytest
from harness.gateway import Gateway
from playwright.sync_api import Page, expect
from ui_pages import serious_findings, visit

from ops.styles import WHOLE, sources, used_by
from shared.identity import Role

MOST_BYTES = 200_000
PAGES: dict[Role, tuple[str, ...]] = {
    Role.USER: ("/shop", "/cart", "/orders", "/orders/{order}"),
    Role.SELLER: (
        "/seller/orders",
        "/seller/products",
        "/seller/products/new",
        "/seller/products/{item}",
        "/seller/products/{item}/movements",
        "/seller/reservations",
        "/orders/{order}",
    ),
    Role.ADMIN: (
        "/admin",
        "/admin/sagas",
        "/admin/dead-letters",
        "/admin/dead-letters/inventory_service.ORDER_CREATED",
        "/admin/redrives",
        "/admin/redrives/new",
        "/admin/reconcile?period=full",
        "/admin/chaos",
        "/admin/audit",
        "/admin/finance",
        "/admin/health",
        "/docs/events",
        "/docs/events/board",
        "/orders",
        "/orders/{order}",
    ),
}
IS_USED = used_by(sources())
OF_TABLER = set(re.findall(r"\.([A-Za-z][\w-]*)", WHOLE.read_text(encoding="utf-8")))
EVERY_PAGE = [(role, path) for role, paths in PAGES.items() for path in paths]


@pytest.fixture(scope="module")
def things(gateway: Gateway) -> dict[str, str]:
    item = gateway.product(20)
    order_id = gateway.order(item, userId="user-1")
    gateway.ended(order_id, "CONFIRMED")
    return {"item": item, "order": order_id}


@pytest.mark.parametrize(("role", "path"), EVERY_PAGE)
class TestEachPage:
    def test_has_no_serious_finding_in_light_or_dark(
        self, role: Role, path: str, things: dict[str, str], log_in: Any
    ) -> None:
        page = log_in(role)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            visit(page, path.format(**things))
            assert serious_findings(page) == [], scheme

    def test_fits_on_a_phone(self, role: Role, path: str, things: dict[str, str], log_in: Any) -> None:
        page = log_in(role, viewport={"width": 360, "height": 740})
        visit(page, path.format(**things))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360

    def test_is_light_and_lacks_no_style(self, role: Role, path: str, things: dict[str, str], log_in: Any) -> None:
        """Of Tabler's styles only those without a class, or with classes that `make styles` knows of, are served."""
        page = log_in(role)
        with counted_bytes(page) as bytes_of:
            visit(page, path.format(**things))
            page.wait_for_load_state("load")
        assert 0 < sum(bytes_of.values()) < MOST_BYTES, bytes_of
        classes = page.evaluate(
            "[...new Set([...document.querySelectorAll('*')].flatMap((one) => [...one.classList]))]"
        )
        assert classes
        assert [name for name in classes if name in OF_TABLER and not IS_USED(name)] == []


class counted_bytes:  # noqa: N801 -- reads as a function
    """Request id → bytes over the wire, compressed, with nothing kept from before."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._bytes: dict[str, float] = {}

    def __enter__(self) -> dict[str, float]:
        self._session.send("Network.enable")
        self._session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        self._session.on("Network.loadingFinished", self._note)
        return self._bytes

    def _note(self, said: dict[str, Any]) -> None:
        self._bytes[said["requestId"]] = said["encodedDataLength"]

    def __exit__(self, *_: object) -> None:
        self._session.detach()


def test_the_login_is_usable_by_keyboard_alone(page: Page) -> None:
    page.goto("/login")
    assert serious_findings(page) == []
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.type("user@ordersaga.example")
    page.keyboard.press("Tab")
    page.keyboard.type("User1234!")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def test_times_are_the_viewers_with_utc_beside(log_in: Any, things: dict[str, str]) -> None:
    page = log_in(Role.USER, timezone_id="Asia/Tokyo", locale="en-GB")
    page.goto("/orders")
    time = page.locator("td time").first
    utc_hour = int(time.get_attribute("datetime")[11:13])
    assert time.inner_text().split(", ")[-1].startswith(f"{(utc_hour + 9) % 24:02d}:")
    assert time.get_attribute("title").endswith("UTC")
