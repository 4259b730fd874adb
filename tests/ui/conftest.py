"""The dashboard in a real Chromium, on the whole stack.

Every page is watched: an error in its console, or a request to any other host, fails the test that met it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from harness.gateway import Gateway
from harness.whole_stack import WholeStack
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from gateway.auth.accounts import DEVELOPMENT_ACCOUNTS, DEVELOPMENT_PASSWORDS
from ops.packages import install
from ops.stack import Stack
from shared.identity import Role

# Long enough for a machine that does a lot besides; what is there is not waited for.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)
# Said by Chromium itself about an answer that a test asked for, such as a refusal.
_ASKED_FOR = "Failed to load resource: the server responded with a status of"
LogIn = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's package; installed if it is missing."""
    if shutil.which("chromium") is None:
        install(["chromium"], print)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def gateway(whole_stack: WholeStack, request: pytest.FixtureRequest) -> Gateway:
    """As in the e2e tests: the whole stack, on top of the infrastructure that is up; a busy one may take its time."""
    return whole_stack.up({"RPC_TIMEOUT_S": "20", **getattr(request.module, "SETTINGS", {})}, {})


@pytest.fixture(scope="module")
def dashboard_url(gateway: Gateway, stack: Stack) -> str:
    return str(stack.environment()["GATEWAY_URL"])


@pytest.fixture
def open_page(chromium: Browser, dashboard_url: str, stack: Stack) -> Iterator[Callable[[], Page]]:
    """Pages of visitors who know nothing of one another."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []
    ours = {urlsplit(url).netloc for name, url in stack.environment().items() if name in ("GATEWAY_URL", "PSP_URL")}

    def open_one(**options: object) -> Page:
        context = chromium.new_context(base_url=dashboard_url, **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: _note_console(wrong, said.type, said.text))
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        page.on("request", lambda asked: _note_request(wrong, ours, asked.url))
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert wrong == []


def _note_console(wrong: list[str], kind: str, text: str) -> None:
    if kind == "error" and not text.startswith(_ASKED_FOR):
        wrong.append(f"console: {text}")


def _note_request(wrong: list[str], ours: set[str], url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.netloc not in ours:
        wrong.append(f"elsewhere: {url}")


@pytest.fixture
def page(open_page: Callable[[], Page]) -> Page:
    return open_page()


@pytest.fixture
def log_in(open_page: LogIn) -> LogIn:
    """``log_in(Role.ADMIN)``: a page of somebody who has just logged in through the form."""

    def logged_in(role: Role, **options: object) -> Page:
        account = next(a for a in DEVELOPMENT_ACCOUNTS if role in a.identity.roles)
        page = open_page(**options)
        page.goto("/login")
        page.get_by_label("User name").fill(account.name)
        page.get_by_label("Password").fill(DEVELOPMENT_PASSWORDS[account.identity.subject])
        page.get_by_role("button", name="Log in", exact=True).first.click()
        page.get_by_role("button", name="Log out").wait_for()
        return page

    return logged_in


@pytest.fixture
def item(gateway: Gateway) -> str:
    """A product of seller-1's with stock."""
    return gateway.product(50)
