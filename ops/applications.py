"""Owns: which application processes a stack runs and the environment of each. Must not know: what they do inside.

A process gets its own database URL and no other.
"""

import re
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from ops.errors import StackError
from ops.folder import StackFolder
from ops.processes import ProcessSpec, base_environment
from ops.state import (
    DATABASE_VARIABLES,
    FINANCE,
    FINANCE_VARIABLE,
    REPLICATION_VARIABLES,
    SIGNING_VARIABLE,
    StackState,
    metrics_port_name,
)
from ops.tokens import KEY_VARIABLE
from shared.change_data.captured import CAPTURED, CapturedDatabase

SERVICE_STAGE, GATEWAY_STAGE, RECONCILER_STAGE = 2, 3, 4
GATEWAY, PSP, RECONCILER = "gateway", "psp", "reconciler"
SERVICES = ("order_service", "inventory_service", "payment_service")
RELAYS = {
    "order_relay": "order_service",
    "inventory_relay": "inventory_service",
    "payment_relay": "payment_service",
}
REPLICABLE = (*SERVICES, *RELAYS)
# Only where changes are captured.
FINANCE_FEED = "finance_feed"
FINANCE_PROCESSES = {FINANCE: "serve", FINANCE_FEED: "feed"}
CONNECTORS = {captured.slot: captured for captured in CAPTURED.values()}

# People who try manual payments by hand should not have to wait half an hour for the expiry; but a charge begins only
# if it can end before that (PSP_LIMIT_S and a little more).
_LOCAL_SETTINGS = {"MANUAL_PAYMENT_TTL_S": "60", "LOG_LEVEL": "INFO", "LOG_FORMAT": "json"}
_OWN_VARIABLES = frozenset(
    {
        "AMQP_URI",
        "METRICS_HOST",
        "METRICS_PORT",
        "GATEWAY_HOST",
        "GATEWAY_PORT",
        "GATEWAY_URL",
        "PSP_HOST",
        "PSP_PORT",
        "PSP_WEBHOOK_URL",
        "RECONCILE_STATE_FILE",
        "CDC_FOLDER",
        SIGNING_VARIABLE,
        KEY_VARIABLE,
        *DATABASE_VARIABLES.values(),
        FINANCE_VARIABLE,
        "FINANCE_VIEW",
        *REPLICATION_VARIABLES.values(),
    }
)


def service_environment(folder: StackFolder, state: StackState, service: str) -> dict[str, str]:
    """Everything one service, its relay and its migration read."""
    pays = service == "payment_service"
    databases = (service, "psp") if pays else (service,)
    urls = {DATABASE_VARIABLES[name]: state.database_url(name) for name in databases}
    secret = {SIGNING_VARIABLE: state.psp_webhook_secret} if pays else {}
    return {**_common_environment(folder, state), **urls, **secret}


def finance_environment(folder: StackFolder, state: StackState) -> dict[str, str]:
    """What the finance service, its feed and its migration read: a database of their own, and the broker."""
    return {**_common_environment(folder, state), FINANCE_VARIABLE: state.database_url(FINANCE)}


def psp_environment(folder: StackFolder, state: StackState) -> dict[str, str]:
    """The payment simulator plays another company: it has its own database, and no broker."""
    return {
        **base_environment(folder.root),
        **_LOCAL_SETTINGS,
        **state.settings,
        DATABASE_VARIABLES["psp"]: state.database_url("psp"),
        "PSP_HOST": "127.0.0.1",
        "PSP_PORT": str(state.ports[PSP]),
        "PSP_WEBHOOK_URL": state.psp_webhook_url,
        SIGNING_VARIABLE: state.psp_webhook_secret,
    }


def gateway_environment(folder: StackFolder, state: StackState) -> dict[str, str]:
    own = {
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(state.ports[GATEWAY]),
        KEY_VARIABLE: str(folder.signing_key_file),
        "FINANCE_VIEW": "on" if state.cdc else "off",
    }
    # With `--set PSP_PUBLIC_URL=…` browsers go elsewhere.
    defaults = {
        "PSP_PUBLIC_URL": state.psp_url or "",
        "MANAGEMENT_PUBLIC_URL": _without_login(state.management_url()),
    }
    return {**defaults, **_common_environment(folder, state), **own}


def _without_login(url: str | None) -> str:
    """Where browsers find it: whoever follows the link logs in by themselves."""
    parts = urlsplit(url or "")
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def reconciler_environment(folder: StackFolder, state: StackState) -> dict[str, str]:
    """It speaks to the gateway alone: no broker, no database."""
    return {
        **base_environment(folder.root),
        **_LOCAL_SETTINGS,
        **state.settings,
        "GATEWAY_URL": f"http://127.0.0.1:{state.ports[GATEWAY]}",
        "RECONCILE_STATE_FILE": str(folder.reconciler_file),
        KEY_VARIABLE: str(folder.signing_key_file),
    }


def connector_environment(folder: StackFolder, state: StackState, captured: CapturedDatabase) -> dict[str, str]:
    """It reads the log of one database, as a role that can do nothing else."""
    return {
        **_common_environment(folder, state),
        **_log_environment(folder, state, captured.service, captured.slot),
    }


def _log_environment(folder: StackFolder, state: StackState, service: str, process: str) -> dict[str, str]:
    """For whoever reads a log: as which role, and a folder of its own."""
    return {
        REPLICATION_VARIABLES[service]: state.replication_url(service),
        "CDC_FOLDER": str(folder.connectors / process),
    }


def _common_environment(folder: StackFolder, state: StackState) -> dict[str, str]:
    # With `--set ORDERSAGA_MODE=production` it is as strict here as anywhere.
    return {
        **base_environment(folder.root),
        "ORDERSAGA_MODE": "development",
        **_LOCAL_SETTINGS,
        **state.settings,
        "AMQP_URI": state.amqp_uri(),
    }


def application_processes(folder: StackFolder, state: StackState) -> list[ProcessSpec]:
    """Services and relays with their replicas, the payment simulator, the gateway, and the reconciler."""
    specs = [
        ProcessSpec(
            name=replica,
            command=(sys.executable, "-m", service, "relay" if name in RELAYS else "serve"),
            environment={
                **service_environment(folder, state, service),
                **(_log_environment(folder, state, service, replica) if name in RELAYS and state.relays_by_log else {}),
                **_metrics_environment(state, replica),
            },
            stage=SERVICE_STAGE,
        )
        for name in REPLICABLE
        for service in [RELAYS.get(name, name)]
        for replica in replica_names(name, state.replicas.get(name, 1))
    ]
    psp = ProcessSpec(
        name=PSP,
        command=(sys.executable, "-m", "payment_service", "psp"),
        environment={**psp_environment(folder, state), **_metrics_environment(state, PSP)},
        stage=SERVICE_STAGE,
    )
    gateway = ProcessSpec(
        name=GATEWAY,
        command=(sys.executable, "-m", "gateway"),
        environment=gateway_environment(folder, state),
        stage=GATEWAY_STAGE,
        listens_on=f"127.0.0.1:{state.ports[GATEWAY]}",
    )
    reconciler = ProcessSpec(
        name=RECONCILER,
        command=(sys.executable, "-m", "ops.reconciler"),
        environment={**reconciler_environment(folder, state), **_metrics_environment(state, RECONCILER)},
        stage=RECONCILER_STAGE,
    )
    return [*specs, psp, gateway, reconciler, *(_of_changes(folder, state) if state.cdc else [])]


def _of_changes(folder: StackFolder, state: StackState) -> list[ProcessSpec]:
    """Those that capture changes, and those that live on them."""
    finance = [
        ProcessSpec(
            name=name,
            command=(sys.executable, "-m", FINANCE, command),
            environment={**finance_environment(folder, state), **_metrics_environment(state, name)},
            stage=SERVICE_STAGE,
        )
        for name, command in FINANCE_PROCESSES.items()
    ]
    return [*_connectors(folder, state), *finance]


def _connectors(folder: StackFolder, state: StackState) -> list[ProcessSpec]:
    return [
        ProcessSpec(
            name=name,
            command=(sys.executable, "-m", "cdc", captured.service),
            environment={**connector_environment(folder, state, captured), **_metrics_environment(state, name)},
            stage=SERVICE_STAGE,
        )
        for name, captured in CONNECTORS.items()
    ]


def probed_names(replicas: Mapping[str, int], *, cdc: bool = False) -> list[str]:
    """The processes that have a port for metrics and health; the gateway answers on its own."""
    services = [replica for name in REPLICABLE for replica in replica_names(name, replicas.get(name, 1))]
    return [*services, PSP, RECONCILER, *((*CONNECTORS, *FINANCE_PROCESSES) if cdc else ())]


def _metrics_environment(state: StackState, name: str) -> dict[str, str]:
    port = state.ports.get(metrics_port_name(name))
    return {} if port is None else {"METRICS_PORT": str(port)}


def replica_names(name: str, count: int) -> list[str]:
    """order_service, order_service-2, order_service-3 …"""
    return [name if number == 1 else f"{name}-{number}" for number in range(1, count + 1)]


def checked_replicas(replicas: Mapping[str, int]) -> dict[str, int]:
    for name, count in replicas.items():
        if name not in REPLICABLE:
            raise StackError(f"{name} cannot have replicas", hint=f"one of: {', '.join(REPLICABLE)}")
        if not 1 <= count <= 20:
            raise StackError(f"{count} replicas of {name}: should be 1 to 20")
    return dict(replicas)


def merged_settings(known: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """The remembered settings with the changes; an empty value forgets a setting."""
    for name in changes:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise StackError(f"{name!r} is not a name of a setting")
        if name in _OWN_VARIABLES:
            raise StackError(
                f"{name} is set by the stack itself",
                hint="to use servers that exist, put it into the environment of `ordersaga up`",
            )
    return {name: value for name, value in {**known, **changes}.items() if value != ""}
