"""Owns: when a server or the application counts as ready, and what to say if it does not get there.

Must not know: how they were started.
"""

import http.client
from collections.abc import Callable

from ops.databases import why_unreachable as why_database_unreachable
from ops.errors import StackError
from ops.folder import StackFolder
from ops.management import ManagementApi
from ops.rabbitmq import ADMINISTRATOR
from ops.rabbitmq import why_unreachable as why_broker_unreachable
from ops.state import StackState
from ops.supervision import Supervision
from ops.waiting import Waiter

_DATABASE_TIMEOUT_S, _BROKER_TIMEOUT_S, _GATEWAY_TIMEOUT_S = 120.0, 180.0, 180.0
_PSP_TIMEOUT_S = 120.0
_PROMETHEUS_TIMEOUT_S = 90.0
_RESTARTS_WITHOUT_HOPE = 5


class Readiness:
    """Waits for the parts of one stack, giving up early on a process that dies again and again."""

    def __init__(self, folder: StackFolder, supervision: Supervision, waiter: Waiter) -> None:
        self._folder = folder
        self._supervision = supervision
        self._waiter = waiter
        self._restarts_before = {process.name: process.restarts for process in supervision.processes()}

    def wait_for_postgres(self, state: StackState) -> None:
        url = state.database_url("postgres", role="postgres")
        self._wait("postgres", lambda: why_database_unreachable(url), _DATABASE_TIMEOUT_S)

    def wait_for_rabbitmq(self, state: StackState) -> None:
        """AMQP login and management API both answer."""
        uri, management = state.amqp_uri(ADMINISTRATOR), state.management_url(ADMINISTRATOR)
        api = ManagementApi(management or "")
        self._wait("rabbitmq", lambda: why_broker_unreachable(uri) or api.why_unreachable(), _BROKER_TIMEOUT_S)

    def wait_for_application(self, state: StackState) -> None:
        """The gateway says that broker and services answer, and the payment simulator that it has its book."""
        self._wait("psp", lambda: why_psp_not_ready(state), _PSP_TIMEOUT_S)
        self._wait("gateway", lambda: why_not_ready(state), _GATEWAY_TIMEOUT_S)

    def wait_for_prometheus(self, state: StackState) -> None:
        port = state.ports["prometheus"]
        self._wait("prometheus", lambda: _why_unwell("Prometheus", port, "/-/ready"), _PROMETHEUS_TIMEOUT_S)

    def _wait(self, name: str, probe: Callable[[], str | None], timeout_s: float) -> None:
        reason: list[str | None] = [None]

        def ready() -> bool:
            reason[0] = probe()
            return reason[0] is None

        def failure() -> StackError:
            words = f"{name} is not ready after {timeout_s:.0f} s: {reason[0]}"
            return StackError(words, log=self._folder.log(name))

        self._waiter.until(ready, timeout_s=timeout_s, failure=failure, hopeless=self._hopeless, pause_s=0.2)

    def _hopeless(self) -> StackError | None:
        if self._supervision.pid() is None:
            return StackError("the supervisor died", log=self._folder.log("supervisor"))
        for process in self._supervision.processes():
            restarts = process.restarts - self._restarts_before.get(process.name, 0)
            if restarts > _RESTARTS_WITHOUT_HOPE:
                words = f"{process.name} died {restarts} times ({process.last_exit})"
                return StackError(words, log=self._folder.log(process.name))
        return None


def why_not_ready(state: StackState) -> str | None:
    """None when GET /health/ready says 200, else what it says."""
    return _why_unwell("gateway", state.ports["gateway"], "/health/ready")


def why_psp_not_ready(state: StackState) -> str | None:
    return _why_unwell("psp", state.ports["psp"], "/health")


def _why_unwell(name: str, port: int, path: str) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=6)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer from the {name} ({error})"
    finally:
        connection.close()
    return None if response.status == http.client.OK else f"{response.status} {body[:300]}"
