"""Everything the services wrote down in one schedule, as an auditor reads it.

Owns: reading the tables and the provider's book, each once. Must not know: what must be true of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from functools import cached_property
from typing import Any

from .world import World

NOTHING = Decimal(0)


class Books:
    """Tables by what they are about; rows as dictionaries of their columns."""

    def __init__(self, world: World) -> None:
        self.world = world

    def rows(self, service: str, statement: str) -> list[dict[str, Any]]:
        store = self.world.rooms[service].store
        with store.connection.cursor() as cursor:
            cursor.execute(statement)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    @cached_property
    def orders(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for row in self.rows("order_service", "select * from orders")}

    @cached_property
    def timeline(self) -> list[dict[str, Any]]:
        return self.rows("order_service", "select * from order_events order by id")

    @cached_property
    def items(self) -> list[dict[str, Any]]:
        return self.rows("order_service", "select * from order_items")

    @cached_property
    def returns(self) -> list[dict[str, Any]]:
        return self.rows(
            "order_service", "select * from order_returns r join order_return_lines l on l.return_id = r.id"
        )

    @cached_property
    def taken_back(self) -> list[dict[str, Any]]:
        return self.rows("inventory_service", "select * from return_lines")

    @cached_property
    def history(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in self.rows("order_service", "select * from order_status_history order by id"):
            found[row["order_id"]].append(row)
        return found

    @cached_property
    def holdings(self) -> dict[str, dict[str, Any]]:
        return {row["order_id"]: row for row in self.rows("inventory_service", "select * from sagas")}

    @cached_property
    def reservations(self) -> list[dict[str, Any]]:
        return self.rows("inventory_service", "select * from reservations order by order_id, generation")

    @cached_property
    def movements(self) -> list[dict[str, Any]]:
        return self.rows("inventory_service", "select * from stock_movements order by id")

    @cached_property
    def stock(self) -> dict[str, dict[str, Any]]:
        return {row["item"]: row for row in self.rows("inventory_service", "select * from stock")}

    @cached_property
    def payments(self) -> dict[str, dict[str, Any]]:
        return {row["order_id"]: row for row in self.rows("payment_service", "select * from payments")}

    @cached_property
    def attempts(self) -> list[dict[str, Any]]:
        return self.rows("payment_service", "select * from payment_attempts order by id")

    @cached_property
    def refunds(self) -> list[dict[str, Any]]:
        return self.rows("payment_service", "select * from refunds order by id")

    @cached_property
    def ledger(self) -> list[dict[str, Any]]:
        return self.rows("payment_service", "select * from ledger_entries order by id")

    @cached_property
    def kept(self) -> dict[str, Decimal]:
        """Order → what the provider took and did not give back."""
        kept: dict[str, Decimal] = {}
        provider = self.world.provider
        for key, amount in provider.standing().items():
            order = self.world.charge_orders.get(key, key)
            kept[order] = kept.get(order, NOTHING) + amount - provider.refunded(key)
        return kept

    @cached_property
    def by_order(self) -> dict[str, Counter[str]]:
        """Order → how many different events of each type were published about it."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for event in self.world.published.values():
            if event.order_id is not None:
                found[event.order_id][event.type] += 1
        return found

    def refund_was_refused(self, order_id: str) -> bool:
        return bool(self.by_order[order_id]["PAYMENT_REFUND_FAILED"])
