"""Dead letters on their way back: what would happen, a frozen selection, and its ramp as it goes.

Owns: /admin/redrives. Must not know: how a step is done, or when a run stops.

The page that drives asks for one step after another; closed, the run stays as it is, and any page can drive it on. Two
that drive at once take turns: the order service gives one of them the lease.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from gateway.admin.driving import advance
from gateway.admin.redrive_schemas import LETTER_STATES, MOST_FORESEEN, RUN_STATES, DryRun, NewRedrive
from gateway.admin.redrives import forecast, freeze
from gateway.dashboard.admin.asking import asked, checked, given, words_of
from gateway.dashboard.forms import whole
from gateway.dashboard.pages import PageBlueprint, done, posted_key, render
from gateway.dashboard.tables import csv_of_all, csv_response, wants_csv
from gateway.paths import as_uuid
from gateway.request_id import request_id
from gateway.services import ORDER_SERVICE, services
from shared.errors import InvalidRequest, RedriveNotFound
from shared.identity import Role

blueprint = PageBlueprint("admin_runs", __name__, url_prefix="/admin/redrives")

_FILTERS = ("queue", "consumer", "event", "error", "text")
_COLUMNS = ("id", "state", "reason", "detail", "total", "createdBy", "createdAt", "updatedAt", "endedAt")
_LETTER_COLUMNS = (
    "number",
    "state",
    "since",
    "detail",
    "queue",
    "destination",
    "eventId",
    "type",
    "reason",
    "failedAt",
)
_VERDICT_COLUMNS = ("queue", "eventId", "type", "reason", "failedAt", "verdict", "decision", "id")
_AT_ONCE = 25
WATCHED_EVERY_S = 2
AGAIN_AFTER_S = 5
"""After a step that failed because something is away."""


@blueprint.page("", Role.ADMIN)
def list_runs() -> Response:
    wanted = given(request.args, "state")
    if wants_csv():
        return csv_of_all("redrives", _COLUMNS, lambda cursor: _runs(wanted, cursor, 100))
    found = asked(lambda: _runs(wanted, request.args.get("cursor"), _AT_ONCE))
    runs, cursor = found.value or ([], None)
    return render(
        "admin/redrives.html",
        runs=runs,
        trouble=found.trouble,
        wanted=wanted,
        states=RUN_STATES,
        more=url_for(".list_runs", **wanted, cursor=cursor) if cursor else None,
        csv=url_for(".list_runs", **wanted, format="csv"),
    )


@blueprint.page("/new", Role.ADMIN)
def new() -> Response:
    return _new_form(request.args, {})


@blueprint.page("/forecast", Role.ADMIN)
def foresee() -> Response:
    """A part of the form's page: what would happen to each letter, asked of its consumer."""
    wanted = given(request.args, *_FILTERS)
    if wants_csv():
        return csv_response("verdicts", _VERDICT_COLUMNS, _forecast(wanted)["letters"])
    found = asked(lambda: _forecast(wanted))
    csv = url_for(".foresee", **wanted, format="csv")
    return render("admin/_forecast.html", forecast=found.value, trouble=found.trouble, csv=csv)


@blueprint.action("", Role.ADMIN)
def create() -> Response:
    try:
        created = freeze(checked(NewRedrive(), _wanted()), posted_key())
    except InvalidRequest as error:
        return _new_form(request.form, {"form": words_of(error)}, 422)
    run = created["redrive"]
    return done(f"{run['total']} dead letters are frozen", url_for(".show", run_id=run["id"], drive="yes"))


@blueprint.page("/<run_id>", Role.ADMIN)
def show(run_id: str) -> Response:
    """With ``drive=yes`` the page asks for the steps."""
    run = _ask("get_redrive", run_id)
    return render("admin/redrive.html", **_progress(run, is_driving=request.args.get("drive") == "yes"))


@blueprint.page("/<run_id>/progress", Role.ADMIN)
def progress(run_id: str) -> Response:
    """The part that changes, for those who only watch."""
    found = asked(lambda: _ask("get_redrive", run_id))
    return render("admin/_redrive.html", **_progress(found.value, run_id=run_id, trouble=found.trouble))


@blueprint.action("/<run_id>/advance", Role.ADMIN)
def go_on(run_id: str) -> Response:
    """One step, and the part that changes; it says when to ask for the next one."""
    found = asked(lambda: advance(_id(run_id)))
    if found.value is None:
        seen = asked(lambda: _ask("get_redrive", run_id))
        waits = {"wait_s": AGAIN_AFTER_S, "trouble": found.trouble}
        return render("admin/_redrive.html", **_progress(seen.value, run_id=run_id, is_driving=True, **waits))
    step = found.value
    wait_s = max(step["waitS"], 0.2)
    told = {"wait_s": wait_s, "step": step["step"]}
    return render("admin/_redrive.html", **_progress(step["redrive"], is_driving=True, **told))


@blueprint.action("/<run_id>/stop", Role.ADMIN)
def stop(run_id: str) -> Response:
    note = request.form.get("note", "").strip() or None
    _ask("stop_redrive", run_id, idempotency_key=posted_key(), request_id=request_id(), note=note)
    return done("Stopped: what is left stays where it is", url_for(".show", run_id=run_id))


@blueprint.action("/<run_id>/resume", Role.ADMIN)
def resume(run_id: str) -> Response:
    _ask("resume_redrive", run_id, idempotency_key=posted_key(), request_id=request_id())
    return done("It goes on, one first", url_for(".show", run_id=run_id, drive="yes"))


@blueprint.page("/<run_id>/letters", Role.ADMIN)
def letters(run_id: str) -> Response:
    wanted = given(request.args, "state")
    if wants_csv():
        return csv_of_all("redrive-letters", _LETTER_COLUMNS, lambda cursor: _letters(run_id, wanted, cursor, 100))
    rows, cursor = _letters(run_id, wanted, request.args.get("cursor"), _AT_ONCE)
    return render(
        "admin/redrive_letters.html",
        run_id=run_id,
        letters=rows,
        wanted=wanted,
        states=LETTER_STATES,
        more=url_for(".letters", run_id=run_id, **wanted, cursor=cursor) if cursor else None,
        csv=url_for(".letters", run_id=run_id, **wanted, format="csv"),
    )


def _progress(run: Any, *, run_id: str = "", is_driving: bool = False, **told: Any) -> dict[str, Any]:
    id_ = run["id"] if run else run_id
    return {
        "run": run,
        "run_id": id_,
        "is_driving": is_driving,
        "watched_every_s": WATCHED_EVERY_S,
        "wait_s": 0.2,
        **told,
    }


def _wanted() -> dict[str, Any]:
    said = request.form
    pace: dict[str, Any] = {name: _number(text) for name, text in given(said, "factor", "perSecond").items()}
    pace |= {name: whole(text) for name, text in given(said, "first", "most").items()}
    most = {"max": whole(said["max"])} if said.get("max", "").strip() else {}
    return {"filter": given(said, *_FILTERS), "pace": pace, **most}


def _forecast(wanted: dict[str, Any]) -> dict[str, Any]:
    foreseen: dict[str, Any] = forecast(checked(DryRun(), {"filter": wanted, "limit": MOST_FORESEEN}))
    return foreseen


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _new_form(said: Any, errors: dict[str, Any], status: int = 200) -> Response:
    wanted = given(said, *_FILTERS)
    return render("admin/new_redrive.html", status, said=said, wanted=wanted, errors=errors)


def _runs(wanted: dict[str, Any], cursor: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
    page = services().call(ORDER_SERVICE, "list_redrives", limit=limit, cursor=cursor, **wanted)
    return page["redrives"], page["nextCursor"]


def _letters(run_id: str, wanted: dict[str, Any], cursor: str | None, limit: int) -> tuple[list[Any], str | None]:
    page = _ask("list_redrive_letters", run_id, limit=limit, cursor=cursor, **wanted)
    return page["letters"], page["nextCursor"]


def _ask(method: str, run_id: str, **said: Any) -> Any:
    return services().call(ORDER_SERVICE, method, run_id=_id(run_id), **said)


def _id(text: str) -> str:
    return as_uuid(text, RedriveNotFound("There is no redrive with this id"))
