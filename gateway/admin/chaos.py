"""Trouble made on purpose, over HTTP: chaos switches with an end, and how the simulated provider behaves.

Owns: the endpoints under /admin/chaos. Must not know: what a switch or a setting does; the services are asked.
"""

from __future__ import annotations

from typing import Any

from flask import Response

from gateway.admin.chaos_documents import Chaos, ChaosEnded, ChaosSwitch
from gateway.admin.chaos_schemas import NewSwitch
from gateway.admin.chaos_services import ask_each, refuse_unanswered, service_of, switches_of
from gateway.admin.documents import ProviderBehaviour
from gateway.admin.schemas import BehaviourChanges
from gateway.openapi import ApiBlueprint
from gateway.paths import as_uuid, uuid_parameter
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.services import PAYMENT_SERVICE, services
from shared.errors import ChaosSwitchNotFound, OrderSagaError
from shared.identity import Role

blueprint = ApiBlueprint(
    "admin_chaos", __name__, url_prefix="/api/v1/admin/chaos", description="Operators: trouble made on purpose"
)

_SWITCH_ID = uuid_parameter("switch_id")


@blueprint.route("", methods=["GET"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, Chaos)
def show_chaos() -> Response:
    """Which switches are on and for how long, and how the provider behaves by itself

    200 whoever is down: what trouble is made has to be seen most of all then.
    """
    return json_response(chaos_now())


def chaos_now() -> dict[str, Any]:
    """{"behaviour": None if its service does not answer, "switches", "unanswered"}"""
    return {"behaviour": provider_behaviour(), **switches_of(ask_each("list_chaos"))}


def provider_behaviour() -> list[dict[str, Any]] | None:
    """Each setting as it is, with what it may be and means; None if its service does not answer."""
    try:
        behaviour: list[dict[str, Any]] = services().call(PAYMENT_SERVICE, "provider_behaviour")["behaviour"]
    except OrderSagaError:
        return None
    return behaviour


@blueprint.route("", methods=["POST"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, ChaosSwitch)
@blueprint.documented(problems=(504,))
@blueprint.arguments(NewSwitch)
def switch_on(wanted: dict[str, Any]) -> Response:
    """Make trouble of one kind for one target, until a time at which it ends by itself

    It takes effect within two seconds. Safe to repeat: the same kind and target are one switch, and what is said last
    holds. `chaos_disabled` where CHAOS_ENABLED is off, as it is in production.
    """
    return json_response(make_trouble(wanted))


def make_trouble(wanted: dict[str, Any]) -> dict[str, Any]:
    """The switch that is now on. ``wanted`` is a NewSwitch."""
    service = service_of(wanted["target"])
    switch = services().call(service, "set_chaos", switch=wanted, correlation_id=request_id())
    return {"service": service, **switch}


@blueprint.route("", methods=["PATCH"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, ProviderBehaviour)
@blueprint.documented(problems=(504,))
@blueprint.arguments(BehaviourChanges)
def change_behaviour(changes: dict[str, Any]) -> Response:
    """Make it fail, lose answers, be slow; what is not named stays as it is

    It behaves so until it is told otherwise; a switch of a psp kind (POST) ends by itself. Safe to repeat.
    """
    return json_response(change_provider(changes))


def change_provider(changes: dict[str, Any]) -> Any:
    """How it behaves from now on. ``changes`` is a BehaviourChanges."""
    return services().call(PAYMENT_SERVICE, "change_provider_behaviour", changes=changes, correlation_id=request_id())


@blueprint.route("", methods=["DELETE"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, ChaosEnded)
@blueprint.documented(problems=(504,))
def end_chaos() -> Response:
    """Switch everything off, and make the provider behave well again

    Every service is asked, also when another one does not answer; then that is the answer. Safe to repeat.
    """
    return json_response(end_all_trouble())


def end_all_trouble() -> dict[str, Any]:
    """Raises what the first service raised that did not answer, once all were asked."""
    ended = ask_each("clear_chaos", correlation_id=request_id())
    reset = services().call(PAYMENT_SERVICE, "reset_provider_behaviour", correlation_id=request_id())
    refuse_unanswered(ended)
    return {**reset, "switches": switches_of(ended)["switches"]}


@blueprint.route("/<switch_id>", methods=["DELETE"], parameters=[_SWITCH_ID])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, ChaosSwitch)
@blueprint.documented(problems=(504,))
def switch_off(switch_id: str) -> Response:
    """Switch one off before its end; 404 once it has ended"""
    return json_response(end_trouble(switch_id))


def end_trouble(switch_id: str) -> Any:
    """The switch that was on. Raises ChaosSwitchNotFound, or what a service raised that did not answer."""
    missing = ChaosSwitchNotFound("no switch with this id is on")
    ended = ask_each("clear_chaos", switch_id=as_uuid(switch_id, missing), correlation_id=request_id())
    switches = switches_of(ended)["switches"]
    if not switches:
        refuse_unanswered(ended)
        raise missing
    return switches[0]
