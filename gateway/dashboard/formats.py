"""How money, times, ids and states look on every page.

Owns: Jinja's filters. Must not know: any page.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Flask
from markupsafe import Markup

_COLOURS = {
    "PENDING": "yellow",
    "RESERVED": "azure",
    "CONFIRMED": "blue",
    "FULFILLED": "green",
    "CANCELLED": "secondary",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "REFUNDED": "secondary",
    "PARTIALLY_REFUNDED": "orange",
    "COMMITTED": "green",
    "RELEASED": "secondary",
    "EXPIRED": "orange",
    "APPLIED": "green",
    "DONE": "green",
    "RUNNING": "blue",
    "STOPPED": "orange",
    "FAILED_AGAIN": "red",
    "up": "green",
    "down": "red",
}
_SHORT = 8
_NOTHING = "\N{EN DASH}"


def install_formats(app: Flask) -> None:
    filters = {"money": money, "moment": moment, "countdown": countdown, "state": state, "short": short, "span": span}
    app.jinja_env.filters["time_told"] = time_told
    app.jinja_env.filters.update(filters)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def money(amount: Any, currency: str | None = None) -> str:
    """Thousands apart; what is no amount is a dash."""
    if amount in (None, ""):
        return _NOTHING
    whole, _, cents = str(amount).removeprefix("-").partition(".")
    sign = "\N{MINUS SIGN}" if str(amount).startswith("-") else ""
    grouped = f"{int(whole):,}".replace(",", "\u202f")
    return f"{sign}{grouped}.{cents or '00'}" + (f"\u00a0{currency}" if currency else "")


def moment(text: str | None, *, live: bool = False) -> Markup:
    """A time in UTC, which the page's script shows in the viewer's zone, with UTC to be seen on hover."""
    if not text:
        return Markup('<span class="text-secondary">{}</span>').format(_NOTHING)
    at = datetime.fromisoformat(text).astimezone(UTC)
    iso, shown = at.isoformat(timespec="milliseconds"), at.strftime("%Y-%m-%d %H:%M:%S UTC")
    kind = Markup(" data-ago") if live else Markup("")
    return Markup('<time datetime="{}" title="{}"{}>{}</time>').format(iso, shown, kind, shown)


def time_told(text: str | None) -> Markup | str:
    """A time by somebody who may have written anything."""
    try:
        return moment(text)
    except ValueError:
        return str(text)


def countdown(text: str | None) -> Markup:
    """How long until then, counted down by the page's script."""
    if not text:
        return moment(None)
    at = datetime.fromisoformat(text).astimezone(UTC)
    shown = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time class="countdown" datetime="{}" title="{}" data-until>{}</time>').format(
        at.isoformat(timespec="milliseconds"), shown, shown
    )


def state(value: str | None) -> Markup:
    """A status as a badge."""
    if not value:
        return Markup('<span class="text-secondary">{}</span>').format(_NOTHING)
    colour = _COLOURS.get(value, "secondary")
    return Markup('<span class="badge bg-{}-lt">{}</span>').format(colour, value.replace("_", " ").lower())


def short(id_: Any) -> str:
    """The end of an id: the beginnings of ids made in the same minute are alike."""
    return str(id_)[-_SHORT:]


def span(seconds: float | None) -> str:
    """A duration: 180 ms, 2.4 s, 3 min 5 s, 2 h 10 min, 3 d 4 h."""
    if seconds is None:
        return _NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    for name, size, less, least in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            whole, rest = divmod(int(seconds), size)
            return f"{whole} {name} {rest // least} {less}"
    raise AssertionError("every duration has a unit")
