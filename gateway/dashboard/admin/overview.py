"""How it goes just now: orders, outcomes, how long sagas take, what waits.

Owns: /admin. Must not know: how any figure is counted.

What there is no history of (outboxes, queues, dead letters) is remembered by the page itself: it sends the figures
that it has seen along when it asks for the next ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Response, request

from gateway.access import caller
from gateway.admin.desk import desk_if_any
from gateway.at_once import ask_at_once
from gateway.dashboard.admin.asking import Answer, asked
from gateway.dashboard.pages import PageBlueprint, render
from gateway.services import ALL_SERVICES, ORDER_SERVICE, trusted_services
from shared.errors import BrokerUnavailable
from shared.identity import Role

blueprint = PageBlueprint("admin_overview", __name__, url_prefix="/admin")

REMEMBERED = 60
_PATIENCE_S = 3.0
_SERIES = ("outbox", "queued", "dead")


@blueprint.page("", Role.ADMIN)
def show() -> Response:
    return render("admin/overview.html", **_values())


@blueprint.page("/overview", Role.ADMIN)
def live() -> Response:
    """The part of the page that changes."""
    return render("admin/_overview.html", **_values())


def _values() -> dict[str, Any]:
    answers = _ask_all()
    outboxes = {service: answers[service] for service in ALL_SERVICES}
    known = [answer.value for answer in outboxes.values() if answer.value]
    queued, dead = answers["queued"], answers["dead"]
    seen = {
        "outbox": _seen("outbox", max((outbox["oldestS"] for outbox in known), default=None)),
        "queued": _seen("queued", _total(queued)),
        "dead": _seen("dead", _total(dead)),
    }
    return {
        "orders": answers["orders"],
        "shares": _shares(answers["orders"].value),
        "outboxes": outboxes,
        "queued": queued,
        "fullest": _fullest(queued),
        "dead": dead,
        "seen": seen,
        "history": {name: _written(values) for name, values in seen.items()},
    }


def _ask_all() -> Mapping[str, Answer]:
    """All at the same time, so that the slowest is all that is waited for."""
    client, who, desk = trusted_services(), caller(), desk_if_any()

    def of_service(service: str, method: str) -> Callable[[], Any]:
        return lambda: client.call(service, method, _PATIENCE_S, caller=who)

    def of_broker(question: str) -> Any:
        if desk is None:
            raise BrokerUnavailable("This gateway has no way to the broker's queues")
        return desk.depths() if question == "dead" else desk.backlogs()

    questions: dict[str, Callable[[], Any]] = {
        "orders": of_service(ORDER_SERVICE, "overview"),
        **{service: of_service(service, "reconcile_backlog") for service in ALL_SERVICES},
        "queued": lambda: of_broker("queued"),
        "dead": lambda: of_broker("dead"),
    }
    return ask_at_once(list(questions), lambda name: asked(questions[name]))


def _shares(told: Any) -> list[float | None]:
    """By minute, which share of the orders went well; None where there were none."""
    minutes = told["minutes"] if told else []
    seen = [(minute["well"], minute["well"] + minute["cancelled"] + minute["underWay"]) for minute in minutes]
    return [well / number if number else None for well, number in seen]


def _total(depths: Answer) -> float | None:
    return None if depths.value is None else sum(depth or 0 for depth in depths.value.values())


def _fullest(depths: Answer) -> list[tuple[str, int]]:
    found = [(queue, depth) for queue, depth in (depths.value or {}).items() if depth]
    return sorted(found, key=lambda pair: -pair[1])[:3]


def _seen(name: str, now: float | None) -> list[float | None]:
    """What the page has seen so far, and what is seen now."""
    before = request.args.get(name, "").split(",")[-(REMEMBERED - 1) :]
    return [*(_read(text) for text in before if text), None if now is None else round(now, 1)]


def _read(text: str) -> float | None:
    whole = text.replace(".", "", 1)
    return float(text) if whole.isascii() and whole.isdigit() and len(text) < 16 else None


def _written(values: list[float | None]) -> str:
    return ",".join("-" if value is None else f"{value:g}" for value in values)
