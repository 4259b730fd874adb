"""Owns: running each service's own migrations, all at once. Must not know: tables."""

import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

from ops.applications import SERVICES, finance_environment, service_environment
from ops.errors import StackError
from ops.folder import StackFolder
from ops.processes import ProcessSpec, send_group, spawn
from ops.state import FINANCE, StackState
from ops.waiting import Waiter

_TIMEOUT_S = 180.0


def migrate_all(folder: StackFolder, state: StackState, waiter: Waiter) -> None:
    """Bring every service's database to the newest revision; StackError with the log of one that fails."""
    services = (*SERVICES, FINANCE) if state.cdc else SERVICES
    running = {service: _start(folder, state, service) for service in services}
    try:
        for service, process in running.items():
            _finish(folder, service, process, waiter)
    finally:
        for process in running.values():
            _end(process)


def _start(folder: StackFolder, state: StackState, service: str) -> subprocess.Popen[bytes]:
    spec = ProcessSpec(
        name=_log_name(service),
        command=(sys.executable, "-m", service, "migrate"),
        environment=_environment(folder, state, service),
        stage=0,
    )
    return spawn(spec, owner=folder.root, log=folder.log(spec.name))


def _environment(folder: StackFolder, state: StackState, service: str) -> dict[str, str]:
    return finance_environment(folder, state) if service == FINANCE else service_environment(folder, state, service)


def _finish(folder: StackFolder, service: str, process: subprocess.Popen[bytes], waiter: Waiter) -> None:
    def failed(how: str) -> Callable[[], StackError]:
        log = folder.log(_log_name(service))
        return lambda: StackError(f"the migration of {service} {how}", log=log)

    waiter.until(lambda: process.poll() is not None, timeout_s=_TIMEOUT_S, failure=failed("does not end"))
    if process.returncode != 0:
        raise failed(f"failed (exit {process.returncode})")()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        send_group(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)


def _log_name(service: str) -> str:
    return f"{service}-migration"
