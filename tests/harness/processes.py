"""Real service and relay processes: started, awaited, stopped, killed, frozen.

Owns: subprocesses and their logs. Must not know: what they do inside; readiness is read from their logs.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.waiting import DEADLINE_S, wait_until

ROOT = Path(__file__).resolve().parents[2]
READY_EVENTS = {
    "serve": '"event": "consuming"',
    "relay": '"event": "relay_active"',
    "psp": '"event": "psp_listening"',
    "feed": '"event": "feed_active"',
    # python -m cdc <service>
    "order_service": '"event": "streaming_started"',
    "payment_service": '"event": "streaming_started"',
}
JAVA_STARTS_WITHIN_S = 120.0
STREAMING_EVENT = '"event": "relay_streaming"'
STOP_TIMEOUT_S = 60.0
_numbers = itertools.count(1)


class ServiceProcess:
    """``python -m <service> serve|relay|psp|feed`` with a log of its own."""

    def __init__(self, service: str, command: str, environment: Mapping[str, str], logs: Path) -> None:
        self.service, self.command = service, command
        self.log = logs / f"{service}-{command}-{next(_numbers)}.log"
        self._environment = {**_plain_environment(), **environment}
        self.start()

    def start(self) -> None:
        self.was_killed = False
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.service, self.command],
                env=self._environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def wait_ready(self, *, timeout_s: float = DEADLINE_S) -> None:
        timeout_s = max(timeout_s, JAVA_STARTS_WITHIN_S if self._is_by_cdc else 0)
        wait_until(self._is_ready, f"{self.service} {self.command} is ready, see {self.log}", timeout_s=timeout_s)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, f"{self.service} {self.command} ended: {self.output()[-2000:]}"
        return self._ready_event in self.output()

    @property
    def _ready_event(self) -> str:
        return STREAMING_EVENT if self._is_by_cdc else READY_EVENTS[self.command]

    @property
    def _is_by_cdc(self) -> bool:
        return self.command == "relay" and self._environment.get("OUTBOX_RELAY") == "cdc"

    def output(self) -> str:
        """What this life of the process has written so far."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", errors="replace")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        self.was_killed = True
        self._process.kill()
        self._process.wait()

    def restart_killed(self) -> None:
        self.kill()
        self.start()

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self._process.terminate()
        return self.wait_end()

    def wait_end(self) -> int:
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.service} {self.command} ignored SIGTERM, see {self.log}") from None


class Processes:
    """All processes of one test module."""

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self._environment, self._logs = environment, logs
        self._logs.mkdir(parents=True, exist_ok=True)
        self.all: list[ServiceProcess] = []

    def start(self, service: str, command: str = "serve", **settings: str) -> ServiceProcess:
        """Started, not awaited."""
        process = ServiceProcess(service, command, {**self._environment, **settings}, self._logs)
        self.all.append(process)
        return process

    def start_ready(self, service: str, command: str = "serve", **settings: str) -> ServiceProcess:
        process = self.start(service, command, **settings)
        process.wait_ready()
        return process

    def start_saga(self, services: Iterable[str], *, replicas: int = 1, **settings: str) -> None:
        """Services with their relays; ready when this returns, but for standby relays, which never report."""
        started = [self.start(s, "serve", **settings) for s in services for _ in range(replicas)]
        started += [self.start(s, "relay", **settings) for s in services]
        for process in started:
            process.wait_ready()
        for service in services:
            for _ in range(replicas - 1):
                self.start(service, "relay", **settings)

    def of(self, service: str, command: str = "serve") -> list[ServiceProcess]:
        return [p for p in self.all if p.service == service and p.command == command]

    def stop(self) -> None:
        """End what runs, gently; AssertionError names whoever had died or did not end well."""
        dead = [p for p in self.all if not p.is_alive and not p.was_killed and p.wait_end() != 0]
        alive = [p for p in self.all if p.is_alive]
        for process in alive:
            process.send(signal.SIGCONT)
            process.send(signal.SIGTERM)
        codes = {process: process.wait_end() for process in alive}
        self.all.clear()
        unwell = [f"{p.service} {p.command}: {code}, see {p.log}" for p, code in codes.items() if code != 0]
        unwell += [f"{p.service} {p.command} had died, see {p.log}" for p in dead]
        assert not unwell, unwell


def _plain_environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ}
