"""Owns: what a broker that was started again needs before its queues can be relied on. Must not know: why it died.

``python -m ops.repair --stack DIR``, run by the supervisor after each restart of the private broker. Without it a
queue that lost its leader in the crash would stay dead until somebody runs `ordersaga up` or `ordersaga topology`.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ops.errors import StackError
from ops.folder import StackFolder
from ops.quorum import give_every_queue_a_leader
from ops.rabbitmq import Node, why_unreachable
from ops.state import load_state
from ops.waiting import Waiter

logger = logging.getLogger("ordersaga.repair")
_REACHABLE_WITHIN_S = 90.0


def repair_queues(folder: StackFolder) -> set[str]:
    """Wait for the broker, then see that every quorum queue has a leader; names of those that needed help."""
    state = load_state(folder)
    if state is None or not state.private_broker:
        return set()
    uri = state.amqp_uri()
    waiter = Waiter(called_off=folder.stop_request.exists)
    waiter.until(
        lambda: why_unreachable(uri) is None,
        timeout_s=_REACHABLE_WITHIN_S,
        failure=lambda: StackError(f"the broker does not answer: {why_unreachable(uri)}"),
    )
    return give_every_queue_a_leader(Node(folder=folder, state=state), waiter)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.repair")
    parser.add_argument("--stack", type=Path, required=True, help="the stack folder")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        helped = repair_queues(StackFolder(root=options.stack.resolve()))
    except StackError as error:
        logger.error("queues_not_repaired error=%s", error.message)
        return 1
    logger.info("queues_checked repaired=%s", ",".join(sorted(helped)) or "none")
    return 0


if __name__ == "__main__":
    sys.exit(main())
