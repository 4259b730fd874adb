"""Keeps a service process in the know of its chaos switches, and hands them to whoever carries them out.

Owns: the thread that reads them, and that no fault of it harms anything else. Must not know: what a kind means.
"""

from __future__ import annotations

from typing import Any

import eventlet
from nameko.extensions import DependencyProvider, SharedExtension
from nameko_sqlalchemy import Database

from shared.chaos.memory import READ_EVERY_S, ChaosMemory
from shared.chaos.requests import Ground, refuse_where_disabled
from shared.chaos.switches import active
from shared.choreography import load_choreography, work_queue
from shared.database import SessionFactory, Sessions, transaction
from shared.logs import get_logger

log = get_logger(__name__)

CHAOS_KEY = "CHAOS_ENABLED"


class ChaosWatch(SharedExtension):
    """One for a process. Where trouble may not be made, nothing is ever read and nothing is ever on."""

    def __init__(self) -> None:
        self.memory = ChaosMemory()
        self._reader: Any = None
        super().__init__()

    def start(self) -> None:
        # Nameko cannot nest dependency providers: the service's own one is found beside this one.
        database = next((d for d in self.container.dependencies if isinstance(d, Database)), None)
        if is_allowed_in(self.container) and database is not None and self._reader is None:
            sessions = SessionFactory(database.Session)
            self._reader = self.container.spawn_managed_thread(lambda: self._read_on(sessions), identifier="chaos")

    def stop(self) -> None:
        if self._reader is not None:
            self._reader.kill()

    def _read_on(self, sessions: Sessions) -> None:
        while True:
            self._read(sessions)
            eventlet.sleep(READ_EVERY_S)

    def _read(self, sessions: Sessions) -> None:
        try:
            with transaction(sessions) as tx:
                switches = active(tx)
        except Exception as error:  # whatever it is, the service goes on: what is on ends by itself
            log.warning("chaos_not_read", error=f"{type(error).__name__}: {error}"[:300])
            self.memory.tick()
        else:
            self.memory.learn(switches)


class ChaosProvider(DependencyProvider):
    """Injects itself: what is on in this process, and what may be. ``calls_provider``: the service pays."""

    watch = ChaosWatch()

    def __init__(self, *, calls_provider: bool = False) -> None:
        self._calls_provider = calls_provider
        super().__init__()

    def setup(self) -> None:
        service: str = self.container.service_name
        self.ground = Ground(
            service=service,
            queues=[work_queue(service, event.type) for event in load_choreography().consumed_by(service)],
            calls_provider=self._calls_provider,
            is_allowed=is_allowed_in(self.container),
        )

    def get_dependency(self, worker_ctx: Any) -> ChaosProvider:
        return self

    def refuse_where_disabled(self) -> None:
        """Raises ChaosDisabled."""
        refuse_where_disabled(self.ground)

    def marks(self) -> list[dict[str, Any]]:
        return self.watch.memory.marks()


def is_allowed_in(container: Any) -> bool:
    """What the composition root read; a service that was started in another way makes no trouble."""
    return bool(container.config.get(CHAOS_KEY, False))
