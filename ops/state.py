"""Owns: stack.json, what a stack remembers between two starts. Must not know: how anything is started.

It holds generated passwords, hence mode 600.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ops.errors import StackError
from ops.folder import StackFolder, write_atomically
from shared.change_data.captured import REPLICATING_SERVICES, replication_role

DATABASES = ("order_service", "inventory_service", "payment_service", "psp")
DATABASE_VARIABLES = {
    "order_service": "ORDER_DATABASE_URL",
    "inventory_service": "INVENTORY_DATABASE_URL",
    "payment_service": "PAYMENT_DATABASE_URL",
    "psp": "PSP_DATABASE_URL",
}
# Is there only where changes are captured.
FINANCE, FINANCE_VARIABLE = "finance_service", "FINANCE_DATABASE_URL"
_VARIABLES = {**DATABASE_VARIABLES, FINANCE: FINANCE_VARIABLE}
# Holds what the payment simulator signs its webhooks with.
SIGNING_VARIABLE = "PSP_WEBHOOK_SECRET"
REPLICATION_VARIABLES = {
    service: f"{service.removesuffix('_service').upper()}_REPLICATION_URL" for service in REPLICATING_SERVICES
}
# Who logs in where; every one of them gets a generated password.
_ACCOUNTS = (
    *DATABASES,
    FINANCE,
    *map(replication_role, REPLICATING_SERVICES),
    *("postgres", "ordersaga", "operator", "administrator", "erlang_cookie"),
)


@dataclass(frozen=True, kw_only=True)
class StackState:
    """Ports, passwords and choices of one stack."""

    passwords: Mapping[str, str]
    node: str
    ports: Mapping[str, int] = field(default_factory=dict)
    postgres_data: str = ""
    cluster_opened: bool = False
    infrastructure_only: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    replicas: Mapping[str, int] = field(default_factory=dict)
    external: Mapping[str, str] = field(default_factory=dict)
    monitoring: bool = False
    cdc: bool = False
    # Empty in what a stack of the first release remembers.
    psp_webhook_secret: str = ""

    def changed(self, **changes: Any) -> "StackState":
        return replace(self, **changes)

    def amqp_uri(self, account: str = "ordersaga") -> str:
        """The broker as a URI; `/%2F` names the vhost "/" in a way that kombu and pika both read."""
        if "AMQP_URI" in self.external:
            return self.external["AMQP_URI"]
        return f"amqp://{account}:{self.passwords[account]}@127.0.0.1:{self.ports['amqp']}/%2F"

    def database_url(self, database: str, *, role: str | None = None) -> str:
        external = self.external.get(_VARIABLES.get(database, ""))
        if external is not None:
            return external
        role = role or database
        port = self.ports["postgres"]
        return f"postgresql+psycopg2://{role}:{self.passwords[role]}@127.0.0.1:{port}/{database}"

    def replication_url(self, service: str) -> str:
        """For the role that reads the service's log. Raises StackError where the database is somebody else's."""
        if DATABASE_VARIABLES[service] not in self.external:
            return self.database_url(service, role=replication_role(service))
        variable = REPLICATION_VARIABLES[service]
        if variable not in self.external:
            raise StackError(
                f"the log of a database that is not the stack's own is read with {variable}, which is not set",
                hint="an administrator of that server makes the role: python -m ops.replication open",
            )
        return self.external[variable]

    def management_url(self, account: str = "operator") -> str | None:
        """The management API with its login, or None when an external broker was given without one."""
        if "AMQP_URI" in self.external:
            return self.external.get("RABBITMQ_MANAGEMENT_URL")
        return f"http://{account}:{self.passwords[account]}@127.0.0.1:{self.ports['management']}"

    @property
    def gateway_url(self) -> str | None:
        """None while the stack has never run a gateway."""
        if "gateway" not in self.ports:
            return None
        return f"http://127.0.0.1:{self.ports['gateway']}"

    @property
    def psp_url(self) -> str | None:
        """The payment simulator's own process; None while the stack has never run one."""
        if "psp" not in self.ports:
            return None
        return f"http://127.0.0.1:{self.ports['psp']}"

    @property
    def prometheus_url(self) -> str | None:
        """None while the stack has never run one."""
        if "prometheus" not in self.ports:
            return None
        return f"http://127.0.0.1:{self.ports['prometheus']}"

    def metrics_address(self, process: str) -> str | None:
        """Where /metrics of the process is, as host:port; None for one that has none."""
        names = {"gateway": "gateway", "rabbitmq": "broker_metrics", "prometheus": "prometheus"}
        port = self.ports.get(names.get(process, metrics_port_name(process)))
        return None if port is None else f"127.0.0.1:{port}"

    @property
    def psp_webhook_url(self) -> str:
        """Where the simulator's webhooks go: through the gateway, as from outside."""
        return f"http://127.0.0.1:{self.ports['gateway']}/api/v1/psp/webhooks"

    @property
    def relays_by_log(self) -> bool:
        """Whether the relays take the outbox from the log."""
        return self.settings.get("OUTBOX_RELAY") == "cdc"

    @property
    def reads_logs(self) -> bool:
        """Whether anybody reads a database's log: then there are roles for it."""
        return self.cdc or self.relays_by_log

    @property
    def database_variables(self) -> Mapping[str, str]:
        """Of each database that this stack uses, the variable with its address."""
        return _VARIABLES if self.cdc else DATABASE_VARIABLES

    @property
    def private_databases(self) -> tuple[str, ...]:
        return tuple(name for name, variable in self.database_variables.items() if variable not in self.external)

    @property
    def private_broker(self) -> bool:
        return "AMQP_URI" not in self.external

    def owns(self, url: str) -> bool:
        """Whether the URL carries one of our passwords: then `eval $(ordersaga env)` put it there."""
        return any(password in url for password in self.passwords.values())


def metrics_port_name(process: str) -> str:
    """What the port for a process's metrics and health is called among the ports."""
    return f"metrics:{process}"


def fresh_state(folder: StackFolder) -> StackState:
    passwords = {account: secrets.token_hex(16) for account in _ACCOUNTS}
    return with_webhook_secret(StackState(passwords=passwords, node=f"ordersaga-{folder.identity}@localhost"))


def with_webhook_secret(state: StackState) -> StackState:
    return state if state.psp_webhook_secret else state.changed(psp_webhook_secret=secrets.token_hex(32))


def with_all_passwords(state: StackState) -> StackState:
    """A stack of a release before knows fewer accounts."""
    missing = {account: secrets.token_hex(16) for account in _ACCOUNTS if account not in state.passwords}
    return state.changed(passwords={**state.passwords, **missing}) if missing else state


def load_state(folder: StackFolder) -> StackState | None:
    """The remembered state, or None if the folder never had a stack; StackError if it cannot be read."""
    try:
        stored = json.loads(folder.state_file.read_text(encoding="utf-8"))
        known = {entry.name for entry in fields(StackState)}
        return StackState(**{name: value for name, value in stored.items() if name in known})
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise StackError(
            f"{folder.state_file} belongs to another user", hint="run as that user, or choose --stack DIR"
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise StackError(
            f"{folder.state_file} is damaged: {error}",
            hint="delete that one file: the next `ordersaga up` makes new passwords and keeps the data",
        ) from error


def save_state(folder: StackFolder, state: StackState) -> None:
    write_atomically(folder.state_file, json.dumps(asdict(state), indent=2) + "\n")
