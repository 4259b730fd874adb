"""Owns: the local stack as one object for tests, the demo and the command line. Must not know: screens and options.

stack = Stack(Path(".stack-test"))
stack.up(infrastructure_only=True)
os.environ.update(stack.environment())
stack.down()
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ops import rabbitmq
from ops.applications import checked_replicas, merged_settings
from ops.change_data import check_extra
from ops.errors import StackError
from ops.external import external_servers
from ops.folder import StackFolder, exclusive_lock, lock_holder
from ops.startup import Startup
from ops.state import (
    SIGNING_VARIABLE,
    StackState,
    fresh_state,
    load_state,
    save_state,
    with_all_passwords,
    with_webhook_secret,
)
from ops.successors import readiness_of_successor
from ops.supervision import ProcessState, Supervision
from ops.tokens import KEY_VARIABLE, ensure_signing_key
from ops.waiting import Waiter, holds_within

_LOCK_TIMEOUT_S = 90.0
_SUCCESSOR_TIMEOUT_S = 60.0


def _silent(_line: str) -> None:
    return None


class Stack:
    """Broker, databases and processes of one folder. `report` receives one line per step."""

    def __init__(self, folder: Path | str = ".stack", *, report: Callable[[str], None] = _silent) -> None:
        self.folder = Path(folder).resolve()
        self._layout = StackFolder(root=self.folder)
        self._supervision = Supervision(self._layout)
        self._report = report

    def up(
        self,
        *,
        infrastructure_only: bool = False,
        replicas: Mapping[str, int] | None = None,
        settings: Mapping[str, str] | None = None,
        external: Mapping[str, str] | None = None,
        monitoring: bool | None = None,
        cdc: bool | None = None,
        migrate: bool = True,
        apply_topology: bool = True,
    ) -> bool:
        """Make the stack run as asked and return once it answers; False if it did so already.

        `replicas`, `settings`, `monitoring` and `cdc` (None: as it was) are remembered for the next time; `external`
        is an environment that may name servers to use instead of private ones. What was started is stopped again if it
        does not get ready.
        Raises StackError.
        """
        self._layout.create()
        with self._exclusively():
            self._layout.stop_request.unlink(missing_ok=True)
            ensure_signing_key(self._layout)
            state = self._state_for(infrastructure_only, replicas or {}, settings or {}, external or {}, monitoring)
            state = state.changed(cdc=state.cdc if cdc is None else cdc)
            check_extra(state)
            startup = Startup(self._layout, state, self._supervision, self._waiter(), self._report)
            if startup.is_up_as_wanted():
                startup.check_ready()
                return False
            self._report_choices(state)
            before = load_state(self._layout)
            save_state(self._layout, state)
            with self._stopped_on_failure(), self._forgotten_on_failure(before):
                startup.run(migrate=migrate, apply_topology=apply_topology)
            return True

    def _report_choices(self, state: StackState) -> None:
        """What would surprise whoever forgot that it is remembered, or inherited from the shell."""
        if state.external:
            self._report(f"using servers that exist: {', '.join(sorted(state.external))} (set in the environment)")
        if state.settings:
            self._report("settings: " + ", ".join(f"{name}={value}" for name, value in sorted(state.settings.items())))

    @contextmanager
    def _forgotten_on_failure(self, before: StackState | None) -> Iterator[None]:
        """Settings and replicas with which the stack did not start are not remembered."""
        try:
            yield
        except BaseException:
            now = load_state(self._layout)
            if before is not None and now is not None:
                kept = now.changed(
                    infrastructure_only=before.infrastructure_only,
                    replicas=before.replicas,
                    settings=before.settings,
                    external=before.external,
                    monitoring=before.monitoring,
                    cdc=before.cdc,
                )
                save_state(self._layout, kept)
            raise

    def _state_for(
        self,
        infrastructure_only: bool,
        replicas: Mapping[str, int],
        settings: Mapping[str, str],
        external: Mapping[str, str],
        monitoring: bool | None,
    ) -> StackState:
        state = self._remembered_state() or fresh_state(self._layout)
        return state.changed(
            infrastructure_only=infrastructure_only,
            replicas={**state.replicas, **checked_replicas(replicas)},
            settings=merged_settings(state.settings, settings),
            external=external_servers(external, state),
            monitoring=state.monitoring if monitoring is None else monitoring,
        )

    def _remembered_state(self) -> StackState | None:
        """As saved; a stack of a release before gets here, once, the secrets that it did not need."""
        state = load_state(self._layout)
        if state is None:
            return None
        whole = with_all_passwords(with_webhook_secret(state))
        if whole is not state:
            save_state(self._layout, whole)
        return whole

    def _waiter(self) -> Waiter:
        return Waiter(called_off=self._layout.stop_request.exists)

    @contextmanager
    def _stopped_on_failure(self) -> Iterator[None]:
        """A half-started stack is worse than none; but one that ran before is not ours to stop."""
        ran_before = self._supervision.pid() is not None
        try:
            yield
        except BaseException as error:
            if not ran_before and self._stop():
                self._report("what had been started is stopped again; the logs stay")
            if isinstance(error, OSError):
                raise StackError(f"{error.strerror or error}: {error.filename or self.folder}") from error
            raise

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        with exclusive_lock(self._layout.operation_lock) as held:
            if not held:
                pid = lock_holder(self._layout.operation_lock)
                raise StackError(
                    f"another ordersaga command is at work on this stack (pid {pid})",
                    hint="wait for it, or call it off with `ordersaga down`",
                )
            yield

    def down(self, *, delete_data: bool = False) -> bool:
        """Stop everything, calling off an `up` that is under way; whether anything ran. Raises StackError."""
        if not self._layout.run.is_dir():
            return False
        called_off = self._call_off()
        with self._exclusively():
            self._layout.stop_request.unlink(missing_ok=True)
            ran = self._stop()
            if delete_data:
                self._delete()
        return ran or called_off

    def _call_off(self) -> bool:
        """Have a running `up` give way; whether there was one."""
        if lock_holder(self._layout.operation_lock) is None:
            return False
        self._report("calling off the `ordersaga up` that is under way")
        self._layout.stop_request.touch()
        holds_within(lambda: lock_holder(self._layout.operation_lock) is None, timeout_s=_LOCK_TIMEOUT_S)
        return True

    def _stop(self) -> bool:
        state = load_state(self._layout)
        ran = self._supervision.stop(state.postgres_data if state else "")
        rabbitmq.stop_port_mapper()
        return ran

    def _delete(self) -> None:
        state = load_state(self._layout)
        if state and state.postgres_data:
            shutil.rmtree(Path(state.postgres_data).parent, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """What a client of this stack needs: AMQP_URI, the database URLs, MANAGEMENT_URL, GATEWAY_URL, PSP_URL,
        PROMETHEUS_URL,
        PSP_WEBHOOK_SECRET for those who start a payment service or a simulator of their own beside it, and
        JWT_SIGNING_KEY_FILE for a gateway of their own.
        """
        state = self._known_state()
        urls = {variable: state.database_url(name) for name, variable in state.database_variables.items()}
        optional = {
            "MANAGEMENT_URL": state.management_url(),
            "GATEWAY_URL": state.gateway_url,
            "PSP_URL": state.psp_url,
            "PROMETHEUS_URL": state.prometheus_url if state.monitoring else None,
            SIGNING_VARIABLE: state.psp_webhook_secret or None,
            KEY_VARIABLE: str(self._layout.signing_key_file) if self._layout.signing_key_file.exists() else None,
        }
        return {"AMQP_URI": state.amqp_uri(), **urls, **{k: v for k, v in optional.items() if v is not None}}

    def administrator(self) -> dict[str, str]:
        """Logins that may do anything on the private servers: for repairs, fault injection and tests."""
        state = self._known_state()
        management = state.management_url(rabbitmq.ADMINISTRATOR)
        return {
            **({"ADMIN_MANAGEMENT_URL": management} if management and state.private_broker else {}),
            **(
                {"ADMIN_DATABASE_URL": state.database_url("postgres", role="postgres")}
                if state.private_databases
                else {}
            ),
        }

    def _known_state(self) -> StackState:
        state = load_state(self._layout)
        if state is None or not (state.ports or state.external):
            raise StackError(f"there is no stack in {self.folder}", hint="start one with `ordersaga up`")
        return state

    def has_private_broker(self) -> bool:
        """Whether the broker is ours: then its passwords are generated ones that may be shown."""
        return self._known_state().private_broker

    def is_up(self) -> bool:
        return self._supervision.pid() is not None

    def supervisor_pid(self) -> int | None:
        return self._supervision.pid()

    def processes(self) -> list[ProcessState]:
        return self._supervision.processes()

    def leftovers(self) -> list[str]:
        """Names of processes that outlived their supervisor; the next `up` or `down` ends them."""
        state = load_state(self._layout)
        return sorted({p.name for p in self._supervision.leftovers(state.postgres_data if state else "")})

    def kill(self, name: str) -> int:
        """SIGKILL one process, e.g. "payment_service"; it comes back. Returns the pid that died."""
        return self._supervision.kill(name)

    def restart(self, name: str) -> None:
        """End one process gently and wait until its successor does its work. Raises StackError."""
        is_ready = readiness_of_successor(name, self._known_state())
        self._supervision.restart(name, self._waiter())
        self._waiter().until(
            is_ready,
            timeout_s=_SUCCESSOR_TIMEOUT_S,
            failure=lambda: StackError(f"the new {name} is not ready", log=self._layout.log(name)),
        )

    def apply_topology(self) -> None:
        """Bring rabbitmq/definitions.json onto the broker of this stack again."""
        state = self._known_state()
        Startup(self._layout, state, self._supervision, self._waiter(), self._report).apply_topology()

    def metrics_address(self, process: str) -> str | None:
        """Where a process of this stack tells its figures, as host:port; None for one that tells none."""
        state = load_state(self._layout)
        return state.metrics_address(process) if state else None

    @property
    def monitoring_folder(self) -> Path:
        """Prometheus' configuration, rules and targets."""
        return self._layout.monitoring

    def log(self, name: str) -> Path:
        return self._layout.log(name)

    def log_names(self) -> list[str]:
        return sorted(path.stem for path in self._layout.logs.glob("*.log"))
