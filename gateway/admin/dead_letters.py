"""Dead letters over HTTP: how many, what they say, back to work with them, or away.

Owns: the endpoints under /admin/dead-letters. Must not know: queues of the broker (see desk), or the audit log's form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response

from gateway import idempotency
from gateway.admin.desk import desk
from gateway.admin.documents import DeadLetterList, DeadLetterOverview, DeadLettersMoved
from gateway.admin.letters import letter_document
from gateway.admin.recorded import once_recorded
from gateway.admin.schemas import Discard, LetterQuery, Redrive
from gateway.openapi import ApiBlueprint
from gateway.responses import json_response
from shared.identity import Role
from shared.messaging.dead_letters import Moved

blueprint = ApiBlueprint(
    "admin_dead_letters",
    __name__,
    url_prefix="/api/v1/admin/dead-letters",
    description="Operators: events that could not be applied",
)

_OBJECT_TYPE = "dead_letters"
_INTERRUPTED = {"code": "interrupted", "detail": "Look at the queue: nothing is lost, but how far it came is not known"}
_QUEUE: dict[str, Any] = {
    "in": "path",
    "name": "queue",
    "required": True,
    "description": "The work queue in which they failed",
    "schema": {"type": "string", "pattern": r"^[a-z_]+\.[A-Z_]+$", "examples": ["inventory_service.ORDER_CREATED"]},
}


@blueprint.route("", methods=["GET"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, DeadLetterOverview)
@blueprint.documented(problems=())
def overview() -> Response:
    """How many dead letters each consumer has, by event"""
    depths = desk().depths()
    services = dict.fromkeys(queue.partition(".")[0] for queue in depths)
    consumers = [
        {
            "service": service,
            "depth": _total(queues),
            "queues": [{"queue": q, "event": q.partition(".")[2], "depth": depth} for q, depth in queues.items()],
        }
        for service in services
        for queues in [{q: depth for q, depth in depths.items() if q.partition(".")[0] == service}]
    ]
    return json_response({"depth": _total(depths), "consumers": consumers})


def _total(depths: dict[str, int | None]) -> int:
    return sum(depth or 0 for depth in depths.values())


@blueprint.route("/<queue>", methods=["GET"], parameters=[_QUEUE])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, DeadLetterList)
@blueprint.documented(problems=())
@blueprint.arguments(LetterQuery, location="query")
def look(query: dict[str, Any], queue: str) -> Response:
    """The oldest dead letters of a work queue, with why they are dead

    They stay where they are. Those that somebody else looks at in the same moment are not shown.
    """
    letters = desk().peek(queue, query["limit"])
    return json_response({"queue": queue, "letters": [letter_document(letter) for letter in letters]})


@blueprint.route("/<queue>/redrive", methods=["POST"], parameters=[_QUEUE])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, DeadLettersMoved)
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(Redrive)
def redrive(wanted: dict[str, Any], queue: str) -> Response:
    """Send the oldest dead letters back to the queue in which they failed, with all their attempts

    Remove the cause first, and try one. It stops at the first that cannot be sent, and after ten seconds; `done` says
    how far it came. Nothing is lost wherever it stops: an event that is sent twice is applied once.

    Repeating the request with the same Idempotency-Key moves nothing more: it gets what the first one did, or `done`
    null if that one was interrupted. To go on, send a new key.
    """
    return _move(queue, wanted, "redrive_dead_letters", lambda: desk().redrive(queue, wanted["count"]))


@blueprint.route("/<queue>/discard", methods=["POST"], parameters=[_QUEUE])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, DeadLettersMoved)
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(Discard)
def discard(wanted: dict[str, Any], queue: str) -> Response:
    """Drop the oldest dead letters for good; the note and their event ids stay in the audit log

    Repeating the request with the same Idempotency-Key drops nothing more, as with redrive.
    """
    return _move(queue, wanted, "discard_dead_letters", lambda: desk().discard(queue, wanted["count"]))


def _move(queue: str, wanted: dict[str, Any], action: str, run: Callable[[], Moved]) -> Response:
    idempotency.idempotency_key()
    # Before the key is claimed: with an unknown queue, or without the broker, nothing was asked for.
    desk().depth(queue)
    outcome, replayed = once_recorded(action, _OBJECT_TYPE, queue, wanted, lambda: _outcome(run()))
    answer = outcome or {"done": None, "eventIds": [], "stopped": _INTERRUPTED}
    return json_response(
        {"queue": queue, "count": wanted["count"], **answer}, headers=idempotency.replay_header(replayed)
    )


def _outcome(moved: Moved) -> dict[str, Any]:
    stopped = moved.stopped
    return {
        "done": len(moved.events),
        "eventIds": [_storable(id_) for id_ in moved.events],
        "stopped": {"code": stopped.code, "detail": _storable(stopped.detail)} if stopped else None,
    }


def _storable(text: str | None) -> str | None:
    """Whoever sent the message chose its id; no RPC and no database takes a NUL."""
    return text.replace("\x00", "\ufffd") if text else None
