"""Where a page's script turns a card into a token: at the provider, so that no card number comes to us.

Owns: the provider's address on pages, and leave for scripts to go there. Must not know: what the token is for.
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from flask import Flask, current_app

from gateway.dashboard.pages import may_talk_to
from gateway.dashboard.settings import DashboardSettings

_EXTENSION = "ordersaga.card_form"


def install_card_form(app: Flask, settings: DashboardSettings) -> None:
    app.extensions[_EXTENSION] = settings


def card_form() -> dict[str, Any]:
    """What a page with the form needs to be rendered. ``psp_url`` empty: cards cannot be taken here."""
    settings = cast(DashboardSettings, current_app.extensions[_EXTENSION])
    if settings.psp_url:
        parts = urlsplit(settings.psp_url)
        may_talk_to(f"{parts.scheme}://{parts.netloc}")
    return {"psp_url": settings.psp_url, "shows_test_cards": settings.shows_accounts and bool(settings.psp_url)}
