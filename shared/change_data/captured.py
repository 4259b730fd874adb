"""What is captured of which database, and what the parts of that are called in PostgreSQL and in RabbitMQ.

Owns: these names. Must not know: who uses them, Java, SQL.
"""

from __future__ import annotations

from dataclasses import dataclass

PUBLICATION = "ordersaga_cdc"
OUTBOX_PUBLICATION = "ordersaga_outbox"
OUTBOX = "outbox"
STREAM = "cdc.changes"
HEARTBEAT = "heartbeat"


@dataclass(frozen=True, kw_only=True, slots=True)
class CapturedDatabase:
    """``kept_back``: columns ("table.column") that stay where they are: personal data, and what pays.

    ``snapshot_tables``: those whose rows are a state; an outbox is a log, whose past concerns nobody.
    """

    database: str
    service: str
    tables: tuple[str, ...]
    snapshot_tables: tuple[str, ...]
    kept_back: tuple[str, ...]

    @property
    def slot(self) -> str:
        return f"{self.database}_cdc"

    @property
    def commands_queue(self) -> str:
        return f"cdc.{self.database}.commands"

    def exchange(self, table: str) -> str:
        """Where the changes of a table are published; for HEARTBEAT, its heartbeats."""
        return f"cdc.{self.database}.{table}"

    @property
    def exchanges(self) -> tuple[str, ...]:
        return tuple(self.exchange(table) for table in (*self.tables, HEARTBEAT))


CAPTURED = {
    "order": CapturedDatabase(
        database="order",
        service="order_service",
        tables=("orders", "order_items", OUTBOX),
        snapshot_tables=("orders", "order_items"),
        kept_back=("orders.shipping_address", "orders.payment_method"),
    ),
    "payment": CapturedDatabase(
        database="payment",
        service="payment_service",
        tables=("payments", "refunds", "ledger_entries", OUTBOX),
        snapshot_tables=("payments", "refunds", "ledger_entries"),
        kept_back=("payments.payment_method",),
    ),
}
REPLICATING_SERVICES = ("order_service", "inventory_service", "payment_service")


def replication_role(service: str) -> str:
    """The role that reads a service's log, and may do nothing else."""
    return f"{service}_cdc"


def outbox_slot(service: str) -> str:
    """The slot of a relay that takes the outbox from the log."""
    return f"{service.removesuffix('_service')}_outbox"


def slots_of(service: str) -> tuple[str, ...]:
    """Every slot of ours that there may be in a service's database."""
    captured = [found.slot for found in CAPTURED.values() if found.service == service]
    return (*captured, outbox_slot(service))
