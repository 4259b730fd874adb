"""Owns: preparing a broker that something else started (a container), once. Must not know: the local stack.

``python -m ops.deploy`` imports rabbitmq/definitions.json through the management API and gives the users their
passwords. Environment: RABBITMQ_MANAGEMENT_URL (with an administrator's login), ORDERSAGA_PASSWORD, OPERATOR_PASSWORD.
Safe to repeat.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from ops.errors import StackError
from ops.management import ManagementApi
from ops.topology import apply_to_private_broker, load_definitions
from ops.waiting import Waiter

_REACHABLE_WITHIN_S = 120.0


def prepare_broker(environment: Mapping[str, str]) -> None:
    """Wait for the management API, then import everything. Raises StackError."""
    missing = [
        name
        for name in ("RABBITMQ_MANAGEMENT_URL", "ORDERSAGA_PASSWORD", "OPERATOR_PASSWORD")
        if not environment.get(name)
    ]
    if missing:
        raise StackError(f"not set: {', '.join(missing)}")
    api = ManagementApi(environment["RABBITMQ_MANAGEMENT_URL"])
    Waiter().until(
        lambda: api.why_unreachable() is None,
        timeout_s=_REACHABLE_WITHIN_S,
        failure=lambda: StackError(f"the management API does not answer: {api.why_unreachable()}"),
    )
    passwords = {"ordersaga": environment["ORDERSAGA_PASSWORD"], "operator": environment["OPERATOR_PASSWORD"]}
    apply_to_private_broker(api, load_definitions(), passwords)


def main() -> int:
    try:
        prepare_broker(os.environ)
    except StackError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
