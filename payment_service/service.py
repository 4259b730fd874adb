"""The payment service as Nameko runs it: entrypoints only, and the charger that lives beside them.

Owns: which event and which request goes to which handler. Must not know: what happens there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID

import eventlet
from nameko.extensions import DependencyProvider
from nameko_sqlalchemy import Database

from payment_service import (
    foresight,
    handlers,
    ledger_totals,
    provider_requests,
    queries,
    reconciling,
    requests,
    schemas,
)
from payment_service.charger import Charger
from payment_service.models import Base
from payment_service.psp_simulator import PspSimulator
from shared import idempotency, inbox, tracing
from shared.caller import CallerProvider
from shared.chaos.kinds import PROVIDER_TARGET, settings_of
from shared.database import ENGINE_OPTIONS, SessionFactory, purge, transaction
from shared.envelope import new_id
from shared.errors import DatabaseUnavailable, TransientError
from shared.inbox import apply_once
from shared.logs import get_logger
from shared.messaging.batch_consumer import consume
from shared.messaging.chaos_watch import ChaosProvider, ChaosWatch
from shared.messaging.rpc import rpc
from shared.operations import Operations
from shared.settings_provider import SETTINGS_KEY, SettingsProvider
from shared.timer import EVERY_MINUTE, EVERY_SECOND, timer
from shared.trace_provider import TraceProvider

log = get_logger(__name__)

LEASE_RENEWED_S = 2


class Charging(DependencyProvider):
    """Injects the charger of this process; keeps its lease alive, so that others know when to take over."""

    chaos = ChaosWatch()

    def setup(self) -> None:
        self.worker_id: UUID = new_id()
        self._settings = self.container.config[SETTINGS_KEY]
        self._provider = PspSimulator(self._settings.psp_database_url, disturbance=self._disturbance)
        limit_s = self._settings.rules.psp_limit.total_seconds()
        self._charger = Charger(self._provider, self._save, self._settings.psp_call_timeout, limit_s)

    def start(self) -> None:
        # Nameko cannot nest dependency providers: the service's own one is found beside this one.
        database = next(d for d in self.container.dependencies if isinstance(d, Database))
        self._sessions = SessionFactory(database.Session)
        self._renew_lease()
        self._lease_keeper = self.container.spawn_managed_thread(self._keep_lease, identifier="charger lease")
        self.container.spawn_managed_thread(self._charger.run, identifier="charger")

    def stop(self) -> None:
        self._charger.stop()
        self._lease_keeper.kill()
        self._end_lease()
        self._provider.close()

    def get_dependency(self, worker_ctx: Any) -> Charging:
        return self

    def submit(self, attempts: Any) -> None:
        self._charger.submit(attempts)

    def submit_soon(self, attempts: Any) -> None:
        """For requests: while too many calls are under way, nobody waits for theirs to begin."""
        if attempts:
            self.container.spawn_managed_thread(partial(self._charger.submit, attempts), identifier="charger submit")

    @property
    def provider(self) -> PspSimulator:
        return self._provider

    @property
    def circuit(self) -> str:
        """Of the calls to the provider: closed, open or half-open."""
        return self._charger.circuit

    @property
    def open_calls(self) -> int:
        return self._charger.open_calls

    def _disturbance(self) -> Mapping[str, float]:
        return settings_of(self.chaos.memory.amounts(PROVIDER_TARGET)) if self.chaos.memory.is_on else {}

    def _save(self, results: Any) -> Any:
        concerned = [(result.attempt.order_id, result.attempt.correlation_id) for result in results]
        with (
            tracing.together("save answers", concerned),
            self.lease_given_up_when_unsure(),
            transaction(self._sessions) as tx,
        ):
            # crash point: charger.saving
            return handlers.record_results(tx, results, self._settings, self.worker_id)

    @contextmanager
    def lease_given_up_when_unsure(self) -> Iterator[None]:
        """When the answer to a commit is lost, attempts may be leased by this process that it does not know of.

        A new worker id makes the old lease lapse; whoever takes the attempts over asks the provider first.
        """
        try:
            yield
        except DatabaseUnavailable:
            self.worker_id = new_id()
            raise

    def _keep_lease(self) -> None:
        while True:
            eventlet.sleep(LEASE_RENEWED_S)
            self._renew_lease()

    def _renew_lease(self) -> None:
        """A lease that cannot be renewed lapses, which is right: then others ask the provider in our place."""
        try:
            with transaction(self._sessions) as tx:
                queries.renew_lease(tx, self.worker_id)
        except TransientError as error:
            log.warning("charger_lease_not_renewed", error=str(error)[:300])

    def _end_lease(self) -> None:
        """Whatever is still open may be taken over at once."""
        with suppress(TransientError), transaction(self._sessions) as tx:
            queries.end_lease(tx, self.worker_id)


class PaymentService(Operations):
    """Requests, events and timers of the payment service; what operators ask of all services is in Operations."""

    name = "payment_service"
    database = Database(Base, engine_options=ENGINE_OPTIONS)
    settings = SettingsProvider()
    charging = Charging()
    caller = CallerProvider()
    chaos = ChaosProvider(calls_provider=True)
    traces = TraceProvider()
    rehearse = staticmethod(foresight.rehearse)

    # Requests

    @rpc
    def get_payment(self, order_id: Any = None, payment_id: Any = None) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.get_payment(tx, self.caller, order_id, payment_id, self.settings)

    @rpc
    def create_payment(self, order_id: Any, idempotency_key: Any = None, correlation_id: Any = None) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.create_payment(tx, self.caller, order_id, idempotency_key, correlation_id, self.settings)

    @rpc
    def confirm_payment(
        self, payment_id: Any, payment_method: Any, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        return self._begin(
            requests.confirm_payment, self.caller, payment_id, payment_method, idempotency_key, correlation_id
        )

    @rpc
    def refund_payment(
        self,
        payment_id: Any,
        amount: Any = None,
        reason: Any = requests.DEFAULT_REASON,
        idempotency_key: Any = None,
        correlation_id: Any = None,
    ) -> dict[str, Any]:
        return self._begin(
            requests.refund_payment, self.caller, payment_id, amount, reason, idempotency_key, correlation_id
        )

    @rpc
    def psp_webhook(self, body: Any, signature: Any) -> dict[str, Any]:
        return self._begin(requests.psp_webhook, body, signature)

    @rpc
    def provider_state(self) -> dict[str, Any]:
        return {"circuit": self.charging.circuit, "openCalls": self.charging.open_calls}

    @rpc
    def provider_behaviour(self) -> dict[str, Any]:
        return provider_requests.show(self.caller, self.charging.provider)

    @rpc
    def change_provider_behaviour(self, changes: Any, correlation_id: Any = None) -> dict[str, Any]:
        self.chaos.refuse_where_disabled()
        return provider_requests.change(self.database, self.caller, self.charging.provider, changes, correlation_id)

    @rpc
    def reset_provider_behaviour(self, correlation_id: Any = None) -> dict[str, Any]:
        return provider_requests.reset(self.database, self.caller, self.charging.provider, correlation_id)

    # Comparing with the other sides, and repairing

    @rpc
    def reconcile_walk(
        self, after: Any = None, limit: Any = 200, full: Any = False, quiet_s: Any = 30.0, ago_s: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return reconciling.walk(tx, self.caller, after=after, limit=limit, full=full, quiet_s=quiet_s, ago_s=ago_s)

    @rpc
    def reconcile_sides(self, order_ids: Any) -> list[dict[str, Any]]:
        return reconciling.sides(self.database, self.caller, self.charging.provider, order_ids)

    @rpc
    def reconcile_book(
        self, after: Any = None, limit: Any = 200, full: Any = False, quiet_s: Any = 30.0, ago_s: Any = None
    ) -> dict[str, Any]:
        wanted = {"after": after, "limit": limit, "full": full, "quiet_s": quiet_s, "ago_s": ago_s}
        return reconciling.walk_book(self.database, self.caller, self.charging.provider, **wanted)

    @rpc
    def ledger_totals(
        self, since: Any, until: Any, before: Any = None, currency: Any = None, by_day: Any = False
    ) -> dict[str, Any]:
        wanted = {"since": since, "until": until, "before": before, "currency": currency, "by_day": by_day}
        with transaction(self.database) as tx:
            return ledger_totals.ledger_totals(tx, self.caller, **wanted)

    @rpc
    def say_payment_again(
        self, order_id: Any, why: Any = None, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return reconciling.say_again(tx, self.caller, order_id, why, idempotency_key, correlation_id)

    @rpc
    def void_charge(
        self, order_id: Any, charge_key: Any, why: Any = None, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        return self._begin(
            reconciling.void_charge, self.caller, order_id, charge_key, why, idempotency_key, correlation_id
        )

    @rpc
    def give_back(
        self, order_id: Any, why: Any = None, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        return self._begin(reconciling.give_back, self.caller, order_id, why, idempotency_key, correlation_id)

    @rpc
    def health(self) -> dict[str, Any]:
        return {**super().health(), "pspCircuit": self.charging.circuit}

    def _begin(self, request: Callable[..., requests.Begun], *arguments: Any) -> dict[str, Any]:
        """Answer a request; what it began is called after the commit, and its outcome not waited for."""
        with self.charging.lease_given_up_when_unsure(), transaction(self.database) as tx:
            answer, attempts = request(tx, *arguments, self.settings, self.charging.worker_id)
        # crash point: charger.requested
        self.charging.submit_soon(attempts)
        return answer

    # Events

    @consume("INVENTORY_RESERVED", schemas.InventoryReserved)
    def on_inventory_reserved(self, events: Any) -> None:
        self._apply(events)

    @consume("INVENTORY_REFUNDED", schemas.InventoryRefunded)
    def on_inventory_refunded(self, events: Any) -> None:
        self._apply(events)

    @consume("ORDER_CANCELLED", schemas.OrderCancelled)
    def on_order_cancelled(self, events: Any) -> None:
        self._apply(events)

    @consume("ORDER_RETURNED", schemas.OrderReturned)
    def on_order_returned(self, events: Any) -> None:
        self._apply(events)

    def _apply(self, events: Any) -> None:
        handle = partial(handlers.apply_events, settings=self.settings, worker_id=self.charging.worker_id)
        with self.charging.lease_given_up_when_unsure():
            attempts = apply_once(self.database, events, handle, horizon=self.settings.inbox_horizon)
        # crash point: charger.begun
        # After the commit: no transaction is open while the provider is called.
        self.charging.submit(attempts)

    # Timers: they fire on every replica, and each takes what the others have not locked

    @timer(EVERY_MINUTE)
    def forget_what_is_old(self) -> None:
        purge(self.database, idempotency.PURGE)
        inbox.forget(self.database, horizon=self.settings.inbox_horizon)

    @timer(EVERY_SECOND)
    def take_over_lapsed_attempts(self) -> None:
        with self.charging.lease_given_up_when_unsure(), transaction(self.database) as tx:
            attempts = handlers.take_over(tx, self.charging.worker_id, self.settings)
        # crash point: charger.taken_over
        self.charging.submit(attempts)
