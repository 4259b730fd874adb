"""Owns: one supervised process: when it starts, how it died, when it may start again. Must not know: the others."""

import logging
import os
import signal
import socket
import subprocess
import time
from typing import Any

from ops.folder import StackFolder
from ops.processes import ProcessSpec, base_environment, send, send_group, shorten, spawn

logger = logging.getLogger("ordersaga.supervisor")
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.2, 10.0
_STEADY_AFTER_S = 30.0


def next_delay_s(previous_s: float, *, alive_s: float) -> float:
    """The pause before the next start: doubles up to a cap, from the beginning after a steady life."""
    if previous_s == 0.0 or alive_s >= _STEADY_AFTER_S:
        return _FIRST_DELAY_S
    return min(previous_s * 2, _LONGEST_DELAY_S)


class Child:
    """One wanted process and its history."""

    def __init__(self, spec: ProcessSpec, folder: StackFolder, listener: socket.socket | None = None) -> None:
        self.spec = spec
        self._listener = listener
        self.next_start = 0.0
        self.restarts = 0
        self.last_exit: str | None = None
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._aftercare: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._started_at: float | None = None
        self._delay_s = 0.0

    @property
    def running(self) -> bool:
        return self._process is not None

    def tend(self, now: float) -> bool:
        """Notice a death, start when it is time; whether anything changed."""
        if self._aftercare is not None and self._aftercare.poll() is not None:
            self._aftercare = None
        died = self._process is not None and self.reaped()
        if died:
            self._delay_s = self._pause_after_death(alive_s=now - self._started)
            self.next_start = now + self._delay_s
            logger.warning("died name=%s exit=%s pause_s=%.1f", self.spec.name, self.last_exit, self._delay_s)
        if self._process is None and now >= self.next_start:
            self._start(now)
            return True
        if shorten(self._folder.log(self.spec.name)):
            logger.info("log_shortened name=%s", self.spec.name)
        return died

    def _pause_after_death(self, *, alive_s: float) -> float:
        asked = self._folder.asked_to_restart(self.spec.name)
        if asked.exists():
            asked.unlink(missing_ok=True)
            return 0.0
        return next_delay_s(self._delay_s, alive_s=alive_s)

    def _start(self, now: float) -> None:
        first = self._started_at is None and self.last_exit is None
        self.restarts += 0 if first else 1
        self._started, self._started_at = now, time.time()
        try:
            log = self._folder.log(self.spec.name)
            self._process = spawn(self.spec, owner=self._folder.root, log=log, listener=self._listener)
        except (OSError, KeyError, subprocess.SubprocessError) as error:
            self.last_exit = f"cannot start: {error}"
            self._delay_s = next_delay_s(self._delay_s, alive_s=0.0)
            self.next_start = now + self._delay_s
            logger.error("not_started name=%s error=%s", self.spec.name, error)
        else:
            logger.info("started name=%s pid=%d", self.spec.name, self._process.pid)
            if not first:
                self._begin_aftercare()

    def _begin_aftercare(self) -> None:
        """One at a time: when the process dies again before its aftercare ended, that one is still waiting for it."""
        if not self.spec.after_restart or (self._aftercare is not None and self._aftercare.poll() is None):
            return
        name = f"{self.spec.name}-after-restart"
        spec = ProcessSpec(
            name=name,
            command=self.spec.after_restart,
            environment=base_environment(self._folder.root),
            stage=self.spec.stage,
        )
        try:
            self._aftercare = spawn(spec, owner=self._folder.root, log=self._folder.log(name))
        except (OSError, subprocess.SubprocessError) as error:
            logger.error("not_started name=%s error=%s", name, error)

    def reaped(self) -> bool:
        """Whether the process is over. The rest of its group goes with it, before its number can be reused."""
        if self._process is None:
            return True
        pid = self._process.pid
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        send_group(pid, signal.SIGKILL)
        self.last_exit = _exit_in_words(self._process.wait())
        self._process = None
        return True

    def ask_to_stop(self) -> None:
        if self._aftercare is not None:
            send_group(self._aftercare.pid, signal.SIGKILL)
            self._aftercare.wait()
            self._aftercare = None
        if self._process is not None:
            send(self._process.pid, self.spec.stop_signal)
            # A frozen process sees no signal but KILL until it is continued.
            send(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            send_group(self._process.pid, signal.SIGKILL)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.spec.name,
            "pid": self._process.pid if self._process else None,
            "state": "running" if self._process else "waiting",
            "started_at": self._started_at if self._process else None,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            "stop_signal": self.spec.stop_signal,
            "stop_timeout_s": self.spec.stop_timeout_s,
        }


def _exit_in_words(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
