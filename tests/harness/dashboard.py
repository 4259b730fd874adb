"""Looking at the dashboard as a browser without scripts would.

Owns: logging in through the form, and posting forms with what the page put into them. Must not know: any page.
"""

from __future__ import annotations

import re
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.auth.accounts import DEVELOPMENT_ACCOUNTS, DEVELOPMENT_PASSWORDS, Accounts
from gateway.dashboard.settings import DashboardSettings
from gateway.settings import HttpSettings
from harness.login import client_of
from harness.services import FakeServices
from shared.identity import Role

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
NAMES = {min(account.identity.roles): account.name for account in DEVELOPMENT_ACCOUNTS}
PASSWORDS = {min(a.identity.roles): DEVELOPMENT_PASSWORDS[a.identity.subject] for a in DEVELOPMENT_ACCOUNTS}


class Browser:
    """One visitor with a cookie jar. ``services`` answer what the pages ask; ``accounts``: others than usual."""

    def __init__(
        self, services: FakeServices | None = None, *, accounts: Accounts | None = None, **settings: Any
    ) -> None:
        self.services = services or FakeServices()
        dashboard = DashboardSettings(**{"shows_accounts": True, **settings})
        self.client: FlaskClient = client_of(self.services, None, HttpSettings(dashboard=dashboard), accounts=accounts)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(path, **options)

    def post(self, path: str, *, seen_on: str, **fields: str) -> TestResponse:
        """As the form on the page ``seen_on`` would."""
        token = self.form_token(seen_on)
        headers = {"Referer": f"http://localhost{seen_on}"}
        return self.client.post(path, data={"csrf_token": token, **fields}, headers=headers)

    def form_token(self, path: str) -> str:
        found = _TOKEN.search(self.get(path).text)
        assert found is not None, f"{path} has no form"
        return found[1]

    def log_in(self, role: Role = Role.USER, **fields: str) -> TestResponse:
        said = {"username": NAMES[role], "password": PASSWORDS[role], **fields}
        return self.post("/login", seen_on="/login", **said)


def logged_in(role: Role, services: FakeServices | None = None, **settings: Any) -> Browser:
    browser = Browser(services, **settings)
    assert browser.log_in(role).status_code == 303
    return browser
