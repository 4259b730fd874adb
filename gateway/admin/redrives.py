"""Redrives over HTTP: a frozen selection of dead letters, sent back in growing batches by whoever asks for the next.

Owns: the endpoints under /admin/redrives. Must not know: how a step is done (driving), or when a run stops.
"""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from gateway import idempotency
from gateway.admin.desk import desk
from gateway.admin.driving import advance
from gateway.admin.foreseeing import foresee
from gateway.admin.redrive_documents import Forecast, RedriveLetterPage, RedrivePage, RedriveRun, RedriveStep
from gateway.admin.redrive_schemas import (
    MOST_FORESEEN,
    MOST_LETTERS,
    DryRun,
    NewRedrive,
    RedriveLetterQuery,
    RedriveQuery,
    StopRedrive,
)
from gateway.admin.selecting import Selected, Wanted, select
from gateway.openapi import ApiBlueprint
from gateway.paths import as_uuid, uuid_parameter
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.schemas import Nothing
from gateway.services import ORDER_SERVICE, services
from shared.errors import RedriveNotFound
from shared.identity import Role

blueprint = ApiBlueprint(
    "admin_redrives",
    __name__,
    url_prefix="/api/v1/admin/redrives",
    description="Operators: dead letters on their way back",
)

_ID = uuid_parameter("redrive_id")


@blueprint.route("", methods=["POST"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(201, RedriveRun)
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(NewRedrive)
def create_redrive(wanted: dict[str, Any]) -> Response:
    """Freeze a selection of dead letters to be sent back; nothing moves yet

    What becomes a dead letter later is not among them, not even the same event again. Those that cannot be sent
    (properties that cannot be read, an unknown origin) are LEFT_OUT, and stay where they are. Then ask for `advance`
    until `step` is `done` or `stopped`.
    """
    created = freeze(wanted, idempotency.idempotency_key())
    body = created["redrive"]
    location = url_for("admin_redrives.get_redrive", redrive_id=body["id"])
    return json_response(body, 201, {"Location": location} | idempotency.replay_header(created["replayed"]))


def freeze(wanted: dict[str, Any], key: str) -> dict[str, Any]:
    """{"redrive", "replayed"}. ``wanted`` is a NewRedrive. Raises BrokerUnavailable, what the order service raises."""
    letters = select(desk(), Wanted.read(wanted["filter"]))[: wanted.get("max", MOST_LETTERS)]
    # None at all is for the order service to refuse: it knows whether this is a repeated request.
    said = {
        "filter": wanted["filter"] | ({"max": wanted["max"]} if "max" in wanted else {}),
        "pace": wanted["pace"],
        "letters": [letter.as_asked() for letter in letters],
    }
    created: dict[str, Any] = services().call(
        ORDER_SERVICE, "create_redrive", wanted=said, idempotency_key=key, request_id=request_id()
    )
    return created


@blueprint.route("/dry-run", methods=["POST"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, Forecast)
@blueprint.documented(problems=(504,))
@blueprint.arguments(DryRun)
def foresee_redrive(wanted: dict[str, Any]) -> Response:
    """What would happen to each dead letter if it were sent back now; nothing is changed

    Each consumer runs its own handler on the event and takes everything back. Every letter is looked at by itself, as
    things are at this moment.
    """
    return json_response(forecast(wanted))


def forecast(wanted: dict[str, Any]) -> dict[str, Any]:
    """{"matching", "letters"}. ``wanted`` is a DryRun. Raises BrokerUnavailable."""
    found = select(desk(), Wanted.read(wanted["filter"]), keeps_content=True)
    skip = wanted.get("skip", 0)
    shown = found[skip : skip + wanted.get("limit", MOST_FORESEEN)]
    letters = [_foreseen(letter) | verdict for letter, verdict in zip(shown, foresee(shown), strict=True)]
    return {"matching": len(found), "letters": letters}


def _foreseen(letter: Selected) -> dict[str, Any]:
    return {
        "id": letter.fingerprint,
        "queue": letter.queue,
        "destination": letter.destination,
        "eventId": letter.event_id,
        "type": letter.event_type,
        "reason": letter.error_code,
        "failedAt": letter.failed_at,
    }


@blueprint.route("", methods=["GET"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, RedrivePage)
@blueprint.documented(problems=(504,))
@blueprint.arguments(RedriveQuery, location="query")
def list_redrives(query: dict[str, Any]) -> Response:
    """Redrives with how far each has come, newest first"""
    page = services().call(
        ORDER_SERVICE,
        "list_redrives",
        limit=query["limit"],
        cursor=query.get("cursor"),
        state=query.get("state"),
    )
    return json_response(page)


# By its length, "dry-run" is none.
@blueprint.route("/<string(length=36):redrive_id>", methods=["GET"], parameters=[_ID])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, RedriveRun)
@blueprint.documented(problems=(504,))
def get_redrive(redrive_id: str) -> Response:
    """How far a redrive has come, and what failed again"""
    return json_response(services().call(ORDER_SERVICE, "get_redrive", run_id=_as_id(redrive_id)))


@blueprint.route("/<redrive_id>/letters", methods=["GET"], parameters=[_ID])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, RedriveLetterPage)
@blueprint.documented(problems=(504,))
@blueprint.arguments(RedriveLetterQuery, location="query")
def list_redrive_letters(query: dict[str, Any], redrive_id: str) -> Response:
    """What became of each letter of the selection, page by page"""
    page = services().call(
        ORDER_SERVICE,
        "list_redrive_letters",
        run_id=_as_id(redrive_id),
        limit=query["limit"],
        cursor=query.get("cursor"),
        state=query.get("state"),
    )
    return json_response(page)


@blueprint.route("/<redrive_id>/advance", methods=["POST"], parameters=[_ID])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, RedriveStep)
@blueprint.documented(problems=(504,))
@blueprint.arguments(Nothing)
def advance_redrive(_wanted: dict[str, Any], redrive_id: str) -> Response:
    """Go one step further: see what became of the last batch, and send the next one if all of it was applied

    It stops by itself when a letter fails again. Ask again after `waitS` seconds. Safe to repeat, at any time and by
    several at once: one drives, the others are told that it is `busy`. Whoever is interrupted leaves nothing undone
    that the next request would not find.
    """
    return json_response(advance(_as_id(redrive_id)))


@blueprint.route("/<redrive_id>/stop", methods=["POST"], parameters=[_ID])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, RedriveRun)
@blueprint.documented(problems=(409, 504), headers=(idempotency.PARAMETER,))
@blueprint.arguments(StopRedrive)
def stop_redrive(wanted: dict[str, Any], redrive_id: str) -> Response:
    """Send nothing more; what is left of the selection stays where it is"""
    return _told("stop_redrive", redrive_id, note=wanted.get("note"))


@blueprint.route("/<redrive_id>/resume", methods=["POST"], parameters=[_ID])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, RedriveRun)
@blueprint.documented(problems=(409, 504), headers=(idempotency.PARAMETER,))
@blueprint.arguments(Nothing)
def resume_redrive(_wanted: dict[str, Any], redrive_id: str) -> Response:
    """Have a stopped redrive go on with what is left of its selection, one first

    Remove the cause first. What failed again is no part of it: that is a new dead letter.
    """
    return _told("resume_redrive", redrive_id)


def _told(method: str, redrive_id: str, **said: Any) -> Response:
    answer = services().call(
        ORDER_SERVICE,
        method,
        run_id=_as_id(redrive_id),
        idempotency_key=idempotency.idempotency_key(),
        request_id=request_id(),
        **said,
    )
    return json_response(answer["redrive"], headers=idempotency.replay_header(answer["replayed"]))


def _as_id(text: str) -> str:
    return as_uuid(text, RedriveNotFound("There is no redrive with this id", {"id": text[:64]}))
