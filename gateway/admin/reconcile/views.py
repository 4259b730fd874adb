"""Reconciliation over HTTP: a pass page by page, single orders, one repair.

Owns: the endpoints under /admin/reconcile. Must not know: what differs, or how it is repaired.
"""

from __future__ import annotations

from typing import Any

from flask import Response

from gateway import idempotency
from gateway.access import caller
from gateway.admin.desk import desk_if_any
from gateway.admin.reconcile.asking import Asker
from gateway.admin.reconcile.comparing import Verdict
from gateway.admin.reconcile.documents import (
    MOST_ORDERS,
    USUAL_QUIET_S,
    OrdersCompared,
    OrdersQuery,
    PassPage,
    PassQuery,
    RepairOutcome,
    WantedRepair,
)
from gateway.admin.reconcile.places import Place, read_cursor, read_watermark
from gateway.admin.reconcile.repairing import repair_found
from gateway.admin.reconcile.walking import next_page
from gateway.admin.recorded import once_recorded
from gateway.fields import is_uuid
from gateway.openapi import ApiBlueprint
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.services import trusted_services
from shared.errors import InvalidRequest
from shared.identity import Role

blueprint = ApiBlueprint(
    "admin_reconcile",
    __name__,
    url_prefix="/api/v1/admin/reconcile",
    description="Operators: what the services and the provider's book say differently, and repairs",
)

_INTERRUPTED = {"repaired": None, "did": None, "detail": "Interrupted: look again"}


@blueprint.route("", methods=["GET"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, PassPage)
@blueprint.documented(problems=(504,))
@blueprint.arguments(PassQuery, location="query")
def next_of_pass(query: dict[str, Any]) -> Response:
    """The next page of a pass: what was compared, what differs, and where to go on

    With `full` everything there is is compared, else what changed on any side: since the `watermark` that an earlier
    pass ended with, or `ago` seconds ago. Nothing counts that changed within the last `quiet` seconds: such orders are
    named as unsettled, to be looked at again. Looking changes nothing.
    """
    return json_response(page_of_pass(query))


def page_of_pass(query: dict[str, Any]) -> dict[str, Any]:
    """``query`` is a PassQuery. Raises what any of the services raises."""
    place = _place(query)
    page = next_page(_asker(), place, limit=query["limit"], quiet_s=query["quiet"], desk=desk_if_any())
    following = page.place
    return {
        "stage": following.stage if following else "house",
        "checked": dict(page.checked),
        **_found(page.verdict),
        "nextCursor": following.cursor if following else None,
        "watermark": page.watermark,
    }


def _place(query: dict[str, Any]) -> Place:
    if "cursor" in query:
        return read_cursor(query["cursor"])
    if query["full"]:
        return Place(is_full=True)
    return read_watermark(query["since"]) if "since" in query else Place(ago_s=query.get("ago"))


@blueprint.route("/orders", methods=["GET"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, OrdersCompared)
@blueprint.documented(problems=(504,))
@blueprint.arguments(OrdersQuery, location="query")
def compare_orders(query: dict[str, Any]) -> Response:
    """What differs of some orders

    An order that nobody knows differs in nothing.
    """
    ids = list(dict.fromkeys(query["ids"].split(",")))
    if len(ids) > MOST_ORDERS or not all(is_uuid(id_) for id_ in ids):
        raise InvalidRequest("ids are no order ids", {"errors": {"ids": [f"1 to {MOST_ORDERS} ids, with commas"]}})
    verdict = _asker().compared([id_.lower() for id_ in ids], query["quiet"])
    return json_response({"checked": {"orders": len(ids)}, **_found(verdict)})


@blueprint.route("/repairs", methods=["POST"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, RepairOutcome)
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(WantedRepair)
def repair(wanted: dict[str, Any]) -> Response:
    """Repair one discrepancy, if it is still found

    A repair begins something: the event is published, the refund is on its way. Whether it helped is for another look.
    What was asked for and what was done stands in the audit log. Repeating the request with the same Idempotency-Key
    repairs nothing more.
    """
    answer, replayed = repair_once(wanted, idempotency.idempotency_key())
    return json_response(answer, headers=idempotency.replay_header(replayed))


def repair_once(wanted: dict[str, Any], key: str) -> tuple[dict[str, Any], bool]:
    """(a RepairOutcome, whether an earlier request with this key did it). ``wanted`` is a WantedRepair."""
    order_id, subject = wanted["orderId"].lower(), wanted.get("subject")
    said = {"code": wanted["code"], "subject": subject}
    asker, quiet_s = _asker(), wanted.get("quiet", USUAL_QUIET_S)

    def run() -> dict[str, Any]:
        return repair_found(asker, wanted["code"], order_id, subject, quiet_s=quiet_s, key=key, request_id=request_id())

    outcome, replayed = once_recorded("reconcile_repair", "order", order_id, said, run, key=key)
    answer = {"code": wanted["code"], "orderId": order_id, "subject": subject, **(outcome or _INTERRUPTED)}
    return answer, replayed


def _asker() -> Asker:
    return Asker(client=trusted_services(), caller=caller())


def _found(verdict: Verdict) -> dict[str, Any]:
    return {
        "discrepancies": [discrepancy.document() for discrepancy in verdict.discrepancies],
        "unsettled": list(verdict.unsettled),
    }
