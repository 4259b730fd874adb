"""The seam between HTTP and the services: one method, and the ways in which a call itself can fail.

Owns: the ``Services`` protocol, the transport's errors, and where a view finds the client.
Must not know: how a call travels, nor what any endpoint does with its result.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

from flask import Flask, current_app

from gateway.access import caller
from shared.errors import OrderSagaError, TransientError
from shared.identity import Identity

_EXTENSION = "ordersaga.services"

ORDER_SERVICE = "order_service"
INVENTORY_SERVICE = "inventory_service"
PAYMENT_SERVICE = "payment_service"
FINANCE_SERVICE = "finance_service"
# Those that a saga runs through; the finance service only looks on.
ALL_SERVICES = (ORDER_SERVICE, INVENTORY_SERVICE, PAYMENT_SERVICE)


class Services(Protocol):
    """Calls a method of a service and waits for its answer."""

    def call(
        self, service: str, method: str, timeout_s: float | None = None, caller: Identity | None = None, **kwargs: Any
    ) -> Any:
        """Return the service's result. Without a ``caller`` the call is the gateway's own, and trusted.

        Raises the service's own error (a class of shared.errors), ServiceUnavailable if nothing was sent,
        OutcomeUnknown if the call was sent but no answer came, ServiceFailed if the service broke.
        Safe from any thread. A call is never repeated.
        """
        ...


class ServiceUnavailable(TransientError):
    """Nothing was sent, or nobody could receive it: the call had no effect and may be repeated."""

    code = "service_unavailable"


class OutcomeUnknown(TransientError):
    """The call was sent and may have taken effect, but its answer did not come."""

    code = "outcome_unknown"


class CallTimedOut(OutcomeUnknown):
    """No answer within the caller's deadline."""

    code = "service_timeout"


class ReplyLost(OutcomeUnknown):
    """The connection over which the answer would have come is gone."""

    code = "reply_lost"


class ServiceFailed(OrderSagaError):
    """The service answered with an error that nobody raises on purpose; the details are for the log only."""

    code = "internal_error"


def register_services(app: Flask, client: Services) -> None:
    app.extensions[_EXTENSION] = client


def trusted_services() -> Services:
    """The client of the application that is handling the current request, for questions of its own (health)."""
    return cast(Services, current_app.extensions[_EXTENSION])


class _AsCaller:
    """Every call bears the identity of the current request: no view can forget it."""

    def __init__(self, client: Services) -> None:
        self._client = client

    def call(self, service: str, method: str, timeout_s: float | None = None, **kwargs: Any) -> Any:
        return self._client.call(service, method, timeout_s, caller=caller(), **kwargs)


def services() -> _AsCaller:
    """Calls in the name of whoever sent the current request."""
    return _AsCaller(trusted_services())
