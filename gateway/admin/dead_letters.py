"""Dead letters over HTTP: how many, what they say, back to work with them, or away.

Owns: the endpoints under /admin/dead-letters. Must not know: queues of the broker (see desk), or the audit log's form.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from flask import Response

from gateway import idempotency
from gateway.admin.desk import desk
from gateway.admin.documents import DeadLetterList, DeadLetterOverview, DeadLettersMoved
from gateway.admin.grouping import groups
from gateway.admin.letters import letter_document
from gateway.admin.recorded import once_recorded
from gateway.admin.redrive_schemas import LetterQuery, OverviewQuery
from gateway.admin.schemas import Discard, Redrive
from gateway.admin.selecting import Wanted, storable
from gateway.openapi import ApiBlueprint
from gateway.responses import json_response
from shared.identity import Role
from shared.messaging.dead_letters import Moved
from shared.messaging.letters import Letter

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
@blueprint.arguments(OverviewQuery, location="query")
def overview(query: dict[str, Any]) -> Response:
    """How many dead letters each consumer has, by event, and if asked for also by error

    Counts by error are of those that can be seen: the oldest 2,000 of each queue, without those that somebody else
    looks at in the same moment.
    """
    return json_response(depths_and_groups(with_groups=query["groups"] == "true"))


def depths_and_groups(*, with_groups: bool) -> dict[str, Any]:
    """Raises BrokerUnavailable."""
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
    by_error = groups(desk(), [q for q, depth in depths.items() if depth]) if with_groups else None
    return {"depth": _total(depths), "consumers": consumers, "groups": by_error}


def _total(depths: dict[str, int | None]) -> int:
    return sum(depth or 0 for depth in depths.values())


@blueprint.route("/<queue>", methods=["GET"], parameters=[_QUEUE])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, DeadLetterList)
@blueprint.documented(problems=())
@blueprint.arguments(LetterQuery, location="query")
def look(query: dict[str, Any], queue: str) -> Response:
    """The oldest dead letters of a work queue, with why they are dead

    They stay where they are. Those that somebody else looks at in the same moment are not shown, nor those behind the
    oldest 2,000.
    """
    return json_response(letters_of(queue, Wanted.read(query), skip=query["skip"], limit=query["limit"]))


def letters_of(queue: str, wanted: Wanted, *, skip: int, limit: int) -> dict[str, Any]:
    """Raises BrokerUnavailable, DeadLettersNotFound."""
    numbers = count()

    def see(letter: Letter) -> tuple[int, dict[str, Any] | None] | None:
        if not wanted.matches(letter):
            return None
        number = next(numbers)
        return number, letter_document(letter) if skip <= number < skip + limit else None

    found = desk().each(queue, see)
    letters = [document for _, document in found if document is not None]
    return {"queue": queue, "matching": len(found), "letters": letters}


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
    key = idempotency.idempotency_key()
    return _answer(*_move(queue, wanted, "redrive_dead_letters", lambda: desk().redrive(queue, wanted["count"]), key))


@blueprint.route("/<queue>/discard", methods=["POST"], parameters=[_QUEUE])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, DeadLettersMoved)
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(Discard)
def discard(wanted: dict[str, Any], queue: str) -> Response:
    """Drop dead letters for good, the oldest or chosen ones; the note and their event ids stay in the audit log

    Repeating the request with the same Idempotency-Key drops nothing more, as with redrive.
    """
    return _answer(*discard_once(queue, wanted, idempotency.idempotency_key()))


def discard_once(queue: str, wanted: dict[str, Any], key: str) -> tuple[dict[str, Any], bool]:
    """(what became of it, whether an earlier request with this key did it). ``wanted``: note, and count or ids."""
    if "ids" in wanted:
        return _move(queue, wanted, "discard_dead_letters", lambda: desk().discard_these(queue, wanted["ids"]), key)
    return _move(queue, wanted, "discard_dead_letters", lambda: desk().discard(queue, wanted["count"]), key)


def _move(
    queue: str, wanted: dict[str, Any], action: str, run: Callable[[], Moved], key: str
) -> tuple[dict[str, Any], bool]:
    # Before the key is claimed: with an unknown queue, or without the broker, nothing was asked for.
    desk().depth(queue)
    outcome, replayed = once_recorded(action, _OBJECT_TYPE, queue, wanted, lambda: _outcome(run()), key=key)
    answer = outcome or {"done": None, "eventIds": [], "stopped": _INTERRUPTED}
    asked = wanted.get("count") or len(wanted["ids"])
    return {"queue": queue, "count": asked, **answer}, replayed


def _answer(body: dict[str, Any], replayed: bool) -> Response:
    return json_response(body, headers=idempotency.replay_header(replayed))


def _outcome(moved: Moved) -> dict[str, Any]:
    stopped = moved.stopped
    return {
        "done": len(moved.events),
        "eventIds": [storable(id_) for id_ in moved.events],
        "stopped": {"code": stopped.code, "detail": storable(stopped.detail)} if stopped else None,
    }
