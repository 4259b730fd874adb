"""What the UI tests share beside their fixtures.

Owns: pictures for the documentation, axe-core's verdict. Must not know: any page.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

_AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
_SHOTS = os.environ.get("ORDERSAGA_SCREENSHOTS")
MOST_PICTURE_BYTES = 200_000
_SERIOUS = ("serious", "critical")


def keep_picture(page: Page, name: str) -> None:
    """When ORDERSAGA_SCREENSHOTS names a folder: the whole page, without messages that come and go."""
    if _SHOTS is not None:
        toasts = page.locator("[data-toasts]")
        toasts.evaluate("toasts => (toasts.hidden = true)")
        taken = page.screenshot(path=Path(_SHOTS) / f"{name}.png", full_page=True)
        toasts.evaluate("toasts => (toasts.hidden = false)")
        assert len(taken) < MOST_PICTURE_BYTES, name


def serious_findings(page: Page) -> list[str]:
    """What axe-core finds serious or worse on the page as it is: rule, what is wrong, where."""
    # Evaluated by the debugger, which the page's policy for scripts does not concern.
    page.evaluate(_AXE)
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {violation['help']}: {node['html'][:160]}"
        for violation in found["violations"]
        if violation["impact"] in _SERIOUS
        for node in violation["nodes"]
    ]
