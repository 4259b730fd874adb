"""Processes that drive a redrive to its end, as a gateway does, and die of SIGKILL at a label.

Owns: where in a step a gateway can die; starting such processes. Must not know: what any single test promises.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
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


class Drivers:
    """Forked from one process that has imported everything: dozens of interpreters would take minutes to start.

    That one finds this module by PYTHONPATH, as it is when the first driver starts.
    """

    def __init__(self, amqp_uri: str) -> None:
        self._amqp_uri = amqp_uri
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["pytest", __name__])
        self._started: list[BaseProcess] = []

    def start(self, run_id: str, label: str = "") -> BaseProcess:
        """Its exit code is 0 when the run is done, 1 when it has stopped."""
        process = self._context.Process(target=_drive, args=(self._amqp_uri, run_id, label))
        process.start()
        self._started.append(process)
        return process

    def stop(self) -> None:
        for process in self._started:
            process.kill()
            process.join()


def exit_code(process: BaseProcess, *, timeout_s: float = 120.0) -> int | None:
    """None: it still runs."""
    process.join(timeout_s)
    return process.exitcode


def _drive(amqp_uri: str, run_id: str, label: str) -> None:
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
            sys.exit(int(step["step"] == "stopped"))
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
