"""Owns: which rehearsals there are, in the order in which they are best learnt. Must not know: how any is played."""

from __future__ import annotations

from ops.rehearsals import (
    broker_partition,
    checkout_success,
    flash_sale,
    inventory_shortage,
    oversell,
    psp_timeout,
    reconciliation_lag,
    schema_drift,
    thousand_reservations,
)

REHEARSALS = (
    checkout_success.REHEARSAL,
    inventory_shortage.REHEARSAL,
    psp_timeout.REHEARSAL,
    oversell.REHEARSAL,
    thousand_reservations.REHEARSAL,
    flash_sale.REHEARSAL,
    reconciliation_lag.REHEARSAL,
    schema_drift.REHEARSAL,
    broker_partition.REHEARSAL,
)
