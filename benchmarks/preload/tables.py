"""Which tables grow with the number of orders, and which do not.

Owns: the two lists. A table that is in neither of them stops the preload: it would be missing, and nobody would know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from shared.inbox import CLOCK_MARGIN, HORIZON

# Settings may say otherwise; this is what they are when they do not.
_OUTBOX_KEPT = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Table:
    """``rows`` says which rows belong to orders; those older than ``kept`` are purged in real life."""

    name: str
    rows: str = "true"
    kept: timedelta | None = None


_MESSAGES = (
    Table(name="inbox", kept=HORIZON + CLOCK_MARGIN),
    # Those of products have no copy.
    Table(name="outbox", rows="event_type not like 'PRODUCT%'", kept=_OUTBOX_KEPT),
)
COPIED: Mapping[str, tuple[Table, ...]] = {
    "order": (
        Table(name="orders"),
        Table(name="order_items"),
        Table(name="order_status_history"),
        Table(name="order_events"),
        Table(name="audit_log", rows="object_type = 'order'"),
        *_MESSAGES,
    ),
    "inventory": (
        Table(name="sagas"),
        Table(name="reservations"),
        Table(name="order_lines"),
        Table(name="stock_movements", rows="order_id is not null"),
        *_MESSAGES,
    ),
    "payment": (
        Table(name="payments"),
        Table(name="payment_attempts"),
        Table(name="ledger_entries"),
        *_MESSAGES,
    ),
    "psp": (Table(name="charges"),),
}
NOT_COPIED = frozenset(
    {
        "alembic_version",
        "archived_orders",
        "audit_log",
        "charger_leases",
        "erasures",
        "idempotency_keys",
        "products",
        "stock",
    }
)
