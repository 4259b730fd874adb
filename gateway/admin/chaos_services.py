"""The chaos switches of all services as one.

Owns: asking each of them, and what is said where one does not answer. Must not know: HTTP, what a switch does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.access import caller
from gateway.at_once import ask_at_once
from gateway.services import ALL_SERVICES, PAYMENT_SERVICE, trusted_services
from shared.chaos.kinds import PROVIDER_TARGET
from shared.errors import OrderSagaError

Answers = Mapping[str, list[dict[str, Any]] | OrderSagaError]
"""Service → its switches, or why it did not answer."""


def ask_each(method: str, **arguments: Any) -> Answers:
    """Every service at the same time; that one is down keeps no other from being asked."""
    client, who = trusted_services(), caller()

    def ask(service: str) -> Any:
        try:
            return client.call(service, method, caller=who, **arguments)
        except OrderSagaError as error:
            return error

    return ask_at_once(ALL_SERVICES, ask)


def switches_of(answers: Answers) -> dict[str, Any]:
    """Each switch with the service that has it, and the names of those that did not answer."""
    lists = {service: answer for service, answer in answers.items() if isinstance(answer, list)}
    return {
        "switches": [{"service": service, **switch} for service, found in lists.items() for switch in found],
        "unanswered": [service for service in answers if service not in lists],
    }


def refuse_unanswered(answers: Answers) -> None:
    """Raises what the first of them that did not answer raised."""
    for answer in answers.values():
        if isinstance(answer, OrderSagaError):
            raise answer


def service_of(target: str) -> str:
    """Who carries out what is to happen to ``target``, which is well formed."""
    return PAYMENT_SERVICE if target == PROVIDER_TARGET else target.partition(".")[0]
