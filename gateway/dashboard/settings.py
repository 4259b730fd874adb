"""What the dashboard can be told from outside.

Owns: names and defaults of its settings. Must not know: ``os.environ``, pages.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.config import Source


@dataclass(frozen=True, kw_only=True)
class DashboardSettings:
    """``is_secure``: cookies go over HTTPS only. ``shows_accounts``: the login page names the accounts of development.

    ``psp_url``: where browsers turn cards into tokens. ``management_url``: RabbitMQ's management UI. Empty: there is
    none to be reached.
    """

    is_secure: bool = False
    shows_accounts: bool = False
    psp_url: str = ""
    management_url: str = ""

    @classmethod
    def read(cls, source: Source, *, is_development: bool) -> DashboardSettings:
        """Raises Misconfigured."""
        default = "no" if is_development else "yes"
        return cls(
            is_secure=source.choice("SECURE_COOKIES", ("yes", "no"), default) == "yes",
            shows_accounts=is_development,
            psp_url=source.text("PSP_PUBLIC_URL", "").rstrip("/"),
            management_url=source.text("MANAGEMENT_PUBLIC_URL", "").rstrip("/"),
        )
