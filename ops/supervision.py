"""Owns: talking to the supervisor of a stack: start it, tell it what is wanted, read what it says, end it.

Must not know: what the processes are for.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ops.errors import StackError
from ops.folder import StackFolder, lock_holder, write_atomically
from ops.postgres import find_postmaster
from ops.processes import (
    NAME_MARKER,
    OWNER_MARKER,
    OwnedProcess,
    ProcessSpec,
    base_environment,
    end_all,
    is_alive,
    owned_by,
    owned_processes,
    rotate,
    send,
    send_group,
)
from ops.waiting import Waiter, holds_within

SUPERVISOR = "supervisor"
_STOP_TIMEOUT_S = 130.0
_LEFTOVER_TIMEOUT_S = 20.0


@dataclass(frozen=True, kw_only=True)
class ProcessState:
    """What the supervisor says about one process; `started_at` is Unix time."""

    name: str
    pid: int | None
    state: str
    started_at: float | None
    restarts: int
    last_exit: str | None
    stop_signal: int = int(signal.SIGTERM)
    stop_timeout_s: float = 20.0


class Supervision:
    """The supervisor of one stack, seen from outside."""

    def __init__(self, folder: StackFolder) -> None:
        self._folder = folder

    def pid(self) -> int | None:
        """The supervisor's pid while it lives."""
        return lock_holder(self._folder.supervisor_lock)

    def processes(self) -> list[ProcessState]:
        """The children as last reported; empty when the supervisor is dead, whatever its file still says."""
        if self.pid() is None:
            return []
        known = {entry.name for entry in fields(ProcessState)}
        reported = self._report().get("processes", [])
        return [ProcessState(**{k: v for k, v in entry.items() if k in known}) for entry in reported]

    def process(self, name: str) -> ProcessState:
        found = {process.name: process for process in self.processes()}
        if name not in found:
            raise StackError(f"no process {name} runs here", hint=f"known: {', '.join(found) or 'none'}")
        return found[name]

    def _report(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._folder.processes_file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def want(self, specs: Sequence[ProcessSpec], waiter: Waiter) -> None:
        """Tell the supervisor which processes there should be; starts it if need be; returns once it knows."""
        generation = time.time_ns()
        document = {"generation": generation, "processes": [spec.as_dict() for spec in specs]}
        write_atomically(self._folder.wanted_file, json.dumps(document, indent=1))
        pid = self.pid()
        if pid is None:
            self._start()
        else:
            send(pid, signal.SIGHUP)
        waiter.until(
            lambda: self.pid() is not None and self._report().get("generation") == generation,
            timeout_s=60.0,
            failure=lambda: StackError("the supervisor does not answer", log=self._folder.log(SUPERVISOR)),
            pause_s=0.05,
        )

    def wants(self, specs: Sequence[ProcessSpec]) -> bool:
        """Whether the supervisor lives and was last told to run exactly these processes."""
        try:
            wanted = json.loads(self._folder.wanted_file.read_text(encoding="utf-8"))["processes"]
        except (OSError, ValueError, KeyError):
            return False
        return self.pid() is not None and wanted == [spec.as_dict() for spec in specs]

    def wanted_names(self) -> set[str]:
        return {process.name for process in self.processes()}

    def _start(self) -> None:
        log = self._folder.log(SUPERVISOR)
        rotate(log)
        markers = {OWNER_MARKER: str(self._folder.root), NAME_MARKER: SUPERVISOR}
        command = [sys.executable, "-m", "ops.supervisor", "--stack", str(self._folder.root), "--detach"]
        with log.open("ab") as output:
            subprocess.run(  # noqa: S603 - our own module
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**base_environment(self._folder.root), **markers},
                cwd=Path(__file__).resolve().parent.parent,
                check=False,
                timeout=30,
            )

    def stop(self, postgres_data: str = "") -> bool:
        """End the supervisor with all its children, then whatever of the stack is left; whether there was any."""
        pid = self.pid()
        if pid is not None:
            send(pid, signal.SIGTERM)
            send(pid, signal.SIGCONT)
            if not holds_within(lambda: self.pid() is None, timeout_s=_STOP_TIMEOUT_S):
                send(pid, signal.SIGKILL)
                holds_within(lambda: self.pid() is None, timeout_s=5.0)
        leftovers = self.end_leftovers(postgres_data)
        self._folder.processes_file.unlink(missing_ok=True)
        self._folder.wanted_file.unlink(missing_ok=True)
        return pid is not None or bool(leftovers)

    def end_leftovers(self, postgres_data: str = "") -> list[str]:
        """End processes that outlived their supervisor, applications first, the database last; their names."""
        left = self.leftovers(postgres_data)
        for stage in ("gateway", "", "rabbitmq", "postgres"):
            processes = [process for process in left if _leftover_stage(process.name) == stage]
            stop_signal = signal.SIGINT if stage == "postgres" else signal.SIGTERM
            end_all(processes, stop_signal=stop_signal, timeout_s=_LEFTOVER_TIMEOUT_S)
        return sorted({process.name or str(process.pid) for process in left})

    def leftovers(self, postgres_data: str = "") -> list[OwnedProcess]:
        """Processes of this stack whose supervisor is gone."""
        if self.pid() is not None:
            return []
        spared = {os.getpid(), os.getppid()}
        found = [process for process in owned_processes(self._folder.root) if process.pid not in spared]
        postmaster = find_postmaster(Path(postgres_data)) if postgres_data else None
        if postmaster is not None and postmaster not in {process.pid for process in found}:
            found.append(OwnedProcess(pid=postmaster, parent=1, name="postgres"))
        return found

    def kill(self, name: str) -> int:
        """SIGKILL the process and its group; the supervisor brings it back. Returns the pid that died."""
        pid = self._living_pid(name)
        send_group(pid, signal.SIGKILL)
        send(pid, signal.SIGKILL)
        return pid

    def restart(self, name: str, waiter: Waiter) -> None:
        """Ask the process to end, make it end at the deadline, and wait for its successor."""
        process = self.process(name)
        pid = self._living_pid(name)
        self._folder.asked_to_restart(name).touch()
        send(pid, process.stop_signal)
        send(pid, signal.SIGCONT)
        if not holds_within(lambda: not is_alive(pid), timeout_s=process.stop_timeout_s):
            self.kill(name)
        waiter.until(
            lambda: self.process(name).pid not in (None, pid),
            timeout_s=30.0,
            failure=lambda: StackError(f"{name} does not come back", log=self._folder.log(name)),
        )

    def _living_pid(self, name: str) -> int:
        pid = self.process(name).pid
        if pid is None or not is_alive(pid):
            raise StackError(f"{name} is not running at this moment", log=self._folder.log(name))
        if not owned_by(self._folder.root, pid):
            raise StackError(f"process {pid} is not ours to signal")
        return pid


def _leftover_stage(name: str) -> str:
    """Gateway, broker and database end on their own; services, relays and the rest (named "") together."""
    return name if name in ("gateway", "rabbitmq", "postgres") else ""
