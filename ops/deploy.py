"""Owns: preparing a broker that something else started (a container), once. Must not know: the local stack.

``python -m ops.deploy`` imports rabbitmq/definitions.json through the management API and gives the users their
passwords. Environment: RABBITMQ_MANAGEMENT_URL (with an administrator's login), ORDERSAGA_PASSWORD, OPERATOR_PASSWORD,
or files with the passwords (RABBITMQ_MANAGEMENT_PASSWORD_FILE, ORDERSAGA_PASSWORD_FILE, OPERATOR_PASSWORD_FILE).
AMQP_URI, if it is set, says of how many nodes the broker consists: all of them must run before anything is declared, or
queues would have members on those alone that do. Safe to repeat.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from ops.errors import StackError
from ops.management import ManagementApi
from ops.quorum import wait_until_running
from ops.topology import apply_to_private_broker, for_nodes, load_definitions
from ops.waiting import Waiter
from shared.config import Source
from shared.errors import Misconfigured
from shared.messaging.addresses import split_addresses

_REACHABLE_WITHIN_S = 120.0
_WHOLE_WITHIN_S = 180.0


def prepare_broker(environment: Mapping[str, str]) -> None:
    """Wait for the management API and every node, then import everything. Raises StackError."""
    source = Source(values=environment)
    passwords = {"ordersaga": source.secret("ORDERSAGA_PASSWORD"), "operator": source.secret("OPERATOR_PASSWORD")}
    missing = [f"{name.upper()}_PASSWORD" for name, password in passwords.items() if not password]
    if missing:
        raise StackError(f"not set: {', '.join(missing)}")
    api = ManagementApi(source.text("RABBITMQ_MANAGEMENT_URL"))
    nodes = source.text("AMQP_URI", "amqp://the-only-one")
    Waiter().until(
        lambda: api.why_unreachable() is None,
        timeout_s=_REACHABLE_WITHIN_S,
        failure=lambda: StackError(f"the management API does not answer: {api.why_unreachable()}"),
    )
    _wait_for_nodes(api, len(split_addresses(nodes)))
    definitions = for_nodes(load_definitions(), nodes)
    apply_to_private_broker(api, definitions, {name: str(password) for name, password in passwords.items()})
    # A queue that was declared a moment ago and has no leader yet would refuse the first events.
    wait_until_running(api, "/", Waiter())


def _wait_for_nodes(api: ManagementApi, wanted: int) -> None:
    def whole() -> bool:
        try:
            return api.running_nodes() >= wanted
        except StackError:
            return False

    Waiter().until(
        whole,
        timeout_s=_WHOLE_WITHIN_S,
        failure=lambda: StackError(f"the broker does not consist of {wanted} running nodes"),
        pause_s=1.0,
    )


def main() -> int:
    try:
        prepare_broker(os.environ)
    except (StackError, Misconfigured) as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
