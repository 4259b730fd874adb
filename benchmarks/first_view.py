"""``python -m benchmarks.first_view``: how soon a browser that was never here shows each main page of the dashboard.

Owns: which pages, how a first view is taken, the table. It looks at a stack of development that is up (``make up``) and
changes nothing. Must not know: what is on a page.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from rich.console import Console
from rich.table import Table

from gateway.auth.accounts import DEVELOPMENT_ACCOUNTS, DEVELOPMENT_PASSWORDS
from ops.errors import StackError
from ops.stack import Stack
from shared.identity import Role

MOST_MS, MOST_KB = 300, 200
PAGES: Mapping[Role | None, Sequence[str]] = {
    None: ("/login",),
    Role.USER: ("/shop", "/cart", "/orders", "ORDER"),
    Role.SELLER: ("/seller/orders", "/seller/products", "/seller/reservations"),
    Role.ADMIN: ("/admin", "/admin/sagas", "/admin/dead-letters", "/admin/chaos", "/admin/audit", "/admin/health"),
}
# Until the first byte, until something is seen, and what went over the wire for it.
_LOOK = """() => new Promise((done) => {
    const [page] = performance.getEntriesByType("navigation");
    const told = (paint) => done({
        server: page.responseStart - page.requestStart,
        shown: paint.startTime,
        bytes: [page, ...performance.getEntriesByType("resource")].reduce((sum, one) => sum + one.transferSize, 0),
    });
    const [seen] = performance.getEntriesByName("first-contentful-paint");
    if (seen) return told(seen);
    new PerformanceObserver((list) => list.getEntriesByName("first-contentful-paint").forEach(told))
        .observe({ type: "paint", buffered: true });
})"""

console = Console(highlight=False)


@dataclass(frozen=True, kw_only=True)
class View:
    """Milliseconds from the request: to the answer's first byte, to the first thing that is seen."""

    server_ms: float
    shown_ms: float
    bytes_loaded: int


@click.command(context_settings={"show_default": True})
@click.option("--rounds", default=5, help="First views of each page; their medians are shown.")
@click.option("--folder", default=Path(".stack"), type=click.Path(path_type=Path), help="Where the stack lives.")
def main(rounds: int, folder: Path) -> None:
    """Take first views of each main page; exit code 1 if one is slower or larger than it should be."""
    address = Stack(folder, report=lambda _line: None).environment()["GATEWAY_URL"]
    found: dict[str, View] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for role, paths in PAGES.items():
            for path in paths:
                found |= _measured(browser, address, role, path, rounds)
        browser.close()
    console.print(_table(found, rounds))
    sys.exit(0 if all(_is_good(view) for view in found.values()) else 1)


def _measured(browser: Browser, address: str, role: Role | None, path: str, rounds: int) -> dict[str, View]:
    """Nothing for the page of an order where its customer has none."""
    with browser.new_context(base_url=address) as context:
        if role is not None:
            _log_in(context, role)
        cookies = context.storage_state()
        target = _newest_order(context) if path == "ORDER" else path
    if target is None:
        return {}
    views = []
    # One more than is counted: the first fills caches of the server that every later stranger profits from.
    for _ in range(rounds + 1):
        with browser.new_context(base_url=address, storage_state=cookies) as stranger:
            views.append(_first_view(stranger.new_page(), target))
    name = "/orders/…" if path == "ORDER" else path
    return {f"{(role or 'nobody').lower()} {name}": _median(views[1:])}


def _log_in(context: BrowserContext, role: Role) -> None:
    account = next(one for one in DEVELOPMENT_ACCOUNTS if role in one.identity.roles)
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("User name").fill(account.name)
    page.get_by_label("Password").fill(DEVELOPMENT_PASSWORDS[account.identity.subject])
    page.get_by_role("button", name="Log in", exact=True).first.click()
    page.get_by_role("button", name="Log out").wait_for()


def _newest_order(context: BrowserContext) -> str | None:
    page = context.pages[0]
    page.goto("/orders")
    links = page.locator("tbody a")
    return links.first.get_attribute("href") if links.count() else None


def _first_view(page: Page, path: str) -> View:
    page.goto(path)
    seen = page.evaluate(_LOOK)
    return View(server_ms=seen["server"], shown_ms=seen["shown"], bytes_loaded=int(seen["bytes"]))


def _median(views: Sequence[View]) -> View:
    return View(
        server_ms=statistics.median(view.server_ms for view in views),
        shown_ms=statistics.median(view.shown_ms for view in views),
        bytes_loaded=max(view.bytes_loaded for view in views),
    )


def _is_good(view: View) -> bool:
    return view.shown_ms <= MOST_MS and view.bytes_loaded <= MOST_KB * 1000


def _table(found: Mapping[str, View], rounds: int) -> Table:
    table = Table(title=f"First views, medians of {rounds}; at most {MOST_MS} ms and {MOST_KB} KB")
    table.add_column("page")
    for title in ("first byte, ms", "seen, ms", "loaded, KB", ""):
        table.add_column(title, justify="right")
    for name, view in found.items():
        figures = (f"{view.server_ms:.0f}", f"{view.shown_ms:.0f}", f"{view.bytes_loaded / 1000:.0f}")
        table.add_row(name, *figures, "✓" if _is_good(view) else "✗")
    return table


if __name__ == "__main__":
    try:
        main()
    except StackError as error:
        console.print(f"[red]{error}[/]")
        sys.exit(1)
