"""``python -m harness.redrive_driver RUN LABEL``: drives a redrive to its end, and dies of SIGKILL at a label.

Owns: where in a step a gateway can die. Must not know: what any single test promises. Its exit code is 0 when the run
is done, 1 when it has stopped.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from gateway.admin.desk import register_desk
from gateway.rpc import RpcClient
from harness.broker import CHOREOGRAPHY
from harness.login import client_of
from shared.messaging import hands
from shared.messaging.dead_letters import DeadLetters

CALLS = ("claim_redrive", "known_events", "plan_redrive", "record_redrive")
LABELS = (
    *(f"{when}.{method}" for method in CALLS for when in ("before", "after")),
    "before.published",
    "after.published",
    "after.sent",
)
WORK_QUEUES = [name for name, _ in CHOREOGRAPHY.work_queues()]
RPC_TIMEOUT_S = 20.0


def drive(amqp_uri: str, run_id: str, label: str = "") -> int:
    client = RpcClient(amqp_uri, timeout_s=RPC_TIMEOUT_S)
    client.start()
    _die_at(label, client)
    http = client_of(client)
    register_desk(http.application, DeadLetters(amqp_uri, WORK_QUEUES))
    while True:
        answer = http.post(f"/api/v1/admin/redrives/{run_id}/advance", json={})
        if answer.status_code != 200:
            time.sleep(0.2)
            continue
        step = answer.get_json()
        if step["step"] in ("done", "stopped"):
            client.close()
            return int(step["step"] == "stopped")
        time.sleep(min(step["waitS"], 0.1))


def _die_at(label: str, client: Any) -> None:
    call, send_back, send = client.call, hands.send_back, hands.Hands.send

    def calling(service: str, method: str, *args: Any, **kwargs: Any) -> Any:
        _reached(f"before.{method}", label)
        answer = call(service, method, *args, **kwargs)
        _reached(f"after.{method}", label)
        return answer

    def sending_back(*args: Any) -> None:
        _reached("before.published", label)
        send_back(*args)
        _reached("after.published", label)

    def sending(*args: Any) -> Any:
        stop = send(*args)
        _reached("after.sent", label)
        return stop

    client.call = calling
    hands.send_back = sending_back
    hands.Hands.send = sending  # type: ignore[method-assign]


def _reached(label: str, deadly: str) -> None:
    if label == deadly:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(drive(os.environ["AMQP_URI"], sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
