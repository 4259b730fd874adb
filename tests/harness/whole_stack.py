"""Everything that `ordersaga up` starts for people, kept up from module to module for as long as they want the same.

Owns: starting and stopping it in between, and that a module begins with empty tables and queues.
Must not know: what any single test promises.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.broker import Broker
from harness.databases import Databases
from harness.gateway import Gateway
from ops.people import NO_LIMITS, people_of
from ops.stack import Stack


class WholeStack:
    """Starting costs as long as many a module's tests, so what runs with the right settings is left running."""

    def __init__(self, stack: Stack, databases: Databases, broker: Broker) -> None:
        self._stack = stack
        self._databases = databases
        self._broker = broker
        self._settings: dict[str, str] = {}
        self._replicas: dict[str, int] = {}
        self._is_up = False

    def up(self, settings: Mapping[str, str], replicas: Mapping[str, int]) -> Gateway:
        """Services, relays, provider and gateway with these settings beside "no rate limits"; nothing in any table."""
        wanted = {**NO_LIMITS, **settings}
        if not self._is_up or (wanted, replicas) != (self._settings, self._replicas):
            self.infrastructure_only()
        if not self._is_up:
            self._empty()
        self._settings, self._replicas = dict(wanted), dict(replicas)
        # Also where it is up already: the module before may have left something killed.
        self._stack.up(infrastructure_only=False, settings=self._settings, replicas=self._replicas)
        if self._is_up:
            self._empty()
        self._is_up = True
        environment = self._stack.environment()
        return Gateway(environment["GATEWAY_URL"], people_of(environment))

    def infrastructure_only(self) -> None:
        """Broker and databases alone, for modules that start processes of their own; the settings are forgotten."""
        self._stack.up(
            infrastructure_only=True,
            settings=dict.fromkeys(self._settings, ""),
            replicas=dict.fromkeys(self._replicas, 1),
        )
        self._settings, self._replicas, self._is_up = {}, {}, False

    def _empty(self) -> None:
        self._broker.purge_all()
        self._databases.empty()
