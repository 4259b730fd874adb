"""Trouble made on purpose: what is on and for how long, more of it, and none of it; and the banner that tells of it.

Owns: /admin/chaos. Must not know: what a switch does; the services are asked.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from flask import Response, request, url_for

from gateway.admin.chaos import (
    change_provider,
    chaos_now,
    end_all_trouble,
    end_trouble,
    make_trouble,
    provider_behaviour,
)
from gateway.admin.chaos_schemas import NewSwitch
from gateway.admin.schemas import BehaviourChanges
from gateway.dashboard.admin.asking import checked, given, words_of
from gateway.dashboard.forms import field_messages, whole
from gateway.dashboard.pages import PageBlueprint, done, refused, render
from gateway.dashboard.tables import csv_response, wants_csv
from gateway.health import chaos_of_late
from gateway.services import ALL_SERVICES
from shared.chaos.kinds import KINDS, PROVIDER_TARGET, USUAL_S
from shared.choreography import load_choreography
from shared.errors import InvalidRequest
from shared.identity import Role

blueprint = PageBlueprint("admin_trouble", __name__, url_prefix="/admin/chaos")

_choreography = cache(load_choreography)
_DURATIONS_S = (60, USUAL_S, 900, 3600)
_COLUMNS = ("kind", "target", "amount", "until", "setBy", "setAt", "note", "service", "id")
# A form's field beside each setting: what the page showed. Only what was changed there is changed.
_BEFORE = "before:"


@blueprint.page("", Role.ADMIN)
def show() -> Response:
    if wants_csv():
        return csv_response("chaos", _COLUMNS, chaos_now()["switches"])
    return _page({})


@blueprint.page("/banner", Role.ADMIN)
def banner() -> Response:
    """The part of every operator's page that says what is on; services are asked at most once in a second."""
    behaviour = provider_behaviour() or []
    unusual = [setting for setting in behaviour if setting["value"] != setting["default"]]
    return render("admin/_banner.html", chaos_marks=chaos_of_late(), unusual=unusual)


@blueprint.action("", Role.ADMIN)
def switch_on() -> Response:
    said = request.form
    try:
        switch = make_trouble(checked(NewSwitch(), _wanted()))
    except InvalidRequest as error:
        return _page(said, trouble=words_of(error), status=422)
    return done(f"{switch['kind']} is on for {switch['target']}", url_for(".show"))


@blueprint.action("/provider", Role.ADMIN)
def behave() -> Response:
    """How the provider behaves by itself, in what was changed on the page."""
    said = request.form
    changed = {
        name: text for name, text in said.items() if f"{_BEFORE}{name}" in said and text != said[f"{_BEFORE}{name}"]
    }
    if not changed:
        return refused("Nothing was changed", url_for(".show"))
    try:
        change_provider(checked(BehaviourChanges(), {name: _number(text) for name, text in changed.items()}))
    except InvalidRequest as error:
        return _page({}, behaviour_errors=field_messages(error), typed=changed, status=422)
    return done("The provider behaves so from now on", url_for(".show"))


@blueprint.action("/off", Role.ADMIN)
def switch_all_off() -> Response:
    end_all_trouble()
    return done("Everything is off, and the provider behaves well again", url_for(".show"))


@blueprint.action("/<switch_id>/off", Role.ADMIN)
def switch_off(switch_id: str) -> Response:
    switch = end_trouble(switch_id)
    return done(f"{switch['kind']} is off", url_for(".show"))


def _page(said: Any, *, trouble: str | None = None, status: int = 200, **more: Any) -> Response:
    shown: dict[str, Any] = {"behaviour_errors": {}, "typed": {}, **more}
    return render(
        "admin/chaos.html",
        status,
        chaos=chaos_now(),
        said=said,
        trouble=trouble,
        kinds=KINDS,
        targets=_targets(),
        durations_s=_DURATIONS_S,
        usual_s=USUAL_S,
        csv=url_for(".show", format="csv"),
        **shown,
    )


def _wanted() -> dict[str, Any]:
    said = given(request.form, "kind", "target", "note")
    numbers = given(request.form, "amount", "durationS")
    return {**said, **{name: _number(text) for name, text in numbers.items()}}


def _number(text: str) -> float | str:
    """What is none is left as it is: it is refused with its field's name."""
    if (number := whole(text)) is not None:
        return number
    try:
        return float(text)
    except ValueError:
        return text


def _targets() -> tuple[str, ...]:
    """The provider, the services, and their work queues."""
    queues = sorted(queue for queue, _ in _choreography().work_queues())
    return (PROVIDER_TARGET, *ALL_SERVICES, *queues)
