"""What the UI tests share beside their fixtures.

Owns: going to a page, pictures for the documentation, axe-core's verdict. Must not know: any page.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

_AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
_SHOTS = os.environ.get("ORDERSAGA_SCREENSHOTS")
MOST_PICTURE_BYTES, HIGHEST_PICTURE = 200_000, 1_280
_SERIOUS = ("serious", "critical")


def visit(page: Page, path: str) -> None:
    """There, and not at a page that says what went wrong."""
    answer = page.goto(path)
    assert answer is not None
    assert answer.ok, f"{path}: {answer.status}"


def keep_picture(page: Page, name: str) -> None:
    """When ORDERSAGA_SCREENSHOTS names a folder: the upper part of the page, without messages."""
    if _SHOTS is not None:
        toasts = page.locator("[data-toasts]")
        toasts.evaluate("toasts => (toasts.hidden = true)")
        width, height = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        clip: Any = {"x": 0, "y": 0, "width": width, "height": min(height, HIGHEST_PICTURE)}
        taken = page.screenshot(path=Path(_SHOTS) / f"{name}.png", full_page=True, clip=clip)
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
