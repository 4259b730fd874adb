"""Captured changes as the connectors publish them: a little shop whose rows change, and what the stream is told of it.

Owns: the form of messages, places in two logs. Must not know: who reads them, how they get into a stream.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID, uuid4

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of the stream."""

    id: str
    database: str
    said: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        return json.dumps(self.said).encode()


def moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


@dataclass
class Log:
    """One database's log: what is committed there, in its order. ``ahead``: how far its clock is."""

    database: str
    lsns: Iterator[int] = field(default_factory=lambda: count(1_000, 8))

    def change(
        self,
        table: str,
        operation: str,
        row: Mapping[str, Any],
        at: datetime,
        *,
        before: Mapping[str, Any] | None = None,
        is_snapshot: bool = False,
    ) -> Message:
        lsn = next(self.lsns)
        said = {
            "database": self.database,
            "table": table,
            "operation": operation,
            "before": before if operation != "d" else row,
            "after": None if operation == "d" else dict(row),
            "lsn": lsn,
            "transactionId": lsn // 8,
            "committedAt": moment(at),
            "isSnapshot": is_snapshot,
        }
        return Message(id=f"{self.database}:{lsn}:{table}:0", database=self.database, said=said)

    def heartbeat(self, at: datetime) -> Message:
        lsn = next(self.lsns)
        said = {"database": self.database, "heartbeat": True, "lsn": lsn, "committedAt": moment(at)}
        return Message(id=f"{self.database}:{lsn}:heartbeat:0", database=self.database, said=said)


class Books:
    """Orders and their money, changed one transaction at a time; every change is kept in ``messages``, in order."""

    def __init__(self, begin: datetime = NOON) -> None:
        self.now = begin
        self.orders_log, self.payments_log = Log("order"), Log("payment")
        self.messages: list[Message] = []
        self.orders: dict[UUID, dict[str, Any]] = {}
        self.payments: dict[UUID, dict[str, Any]] = {}
        self.refunds: dict[UUID, dict[str, Any]] = {}
        self.entries: list[dict[str, Any]] = []
        self._entry_ids = count(1)

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    def of(self, database: str) -> list[Message]:
        return [message for message in self.messages if message.database == database]

    def place(self, price: str = "10.00", *, seller: str = "potter", currency: str = "EUR") -> UUID:
        id_ = uuid4()
        row = {"id": str(id_), "user_id": "anna", "seller_id": seller, "status": "PENDING", "price": price}
        self.orders[id_] = {**row, "currency": currency, "created_at": moment(self.now), "updated_at": moment(self.now)}
        self._order(id_, "c")
        return id_

    def order_becomes(self, id_: UUID, status: str) -> None:
        self.orders[id_] |= {"status": status, "updated_at": moment(self.now)}
        self._order(id_, "u")

    def forget_order(self, id_: UUID) -> None:
        """Deleted, as when it is archived."""
        key = {"id": str(id_)}
        self.messages.append(self.orders_log.change("orders", "d", key, self.now))
        del self.orders[id_]

    def capture(self, id_: UUID, *, amount: str | None = None) -> None:
        order = self.orders[id_]
        row = {"order_id": str(id_), "id": str(uuid4()), "seller_id": order["seller_id"], "status": "PENDING"}
        money = {"amount": amount or order["price"], "currency": order["currency"], "refunded": "0.00"}
        self.payments[id_] = {**row, **money, "refunding": "0.00", "updated_at": moment(self.now)}
        self._payment(id_, "c")
        self.later(milliseconds=20)
        self.payments[id_] |= {"status": "SUCCEEDED", "updated_at": moment(self.now)}
        self._payment(id_, "u")
        self._book(id_, Decimal(self.payments[id_]["amount"]))

    def sell(self, price: str = "10.00", *, seller: str = "potter", currency: str = "EUR") -> UUID:
        """Placed, captured, confirmed."""
        id_ = self.place(price, seller=seller, currency=currency)
        self.later(milliseconds=20)
        self.capture(id_)
        self.later(milliseconds=20)
        self.order_becomes(id_, "CONFIRMED")
        return id_

    def refund(self, id_: UUID, amount: str) -> UUID:
        """Begun, and carried out a moment later."""
        refund_id, payment = uuid4(), self.payments[id_]
        row = {"id": str(refund_id), "order_id": str(id_), "amount": amount, "currency": payment["currency"]}
        self.refunds[refund_id] = {**row, "status": "PENDING", "ended_at": None}
        payment |= {"refunding": amount, "updated_at": moment(self.now)}
        self._payment(id_, "u")
        self._refund(refund_id, "c")
        self.later(milliseconds=20)
        refunded = Decimal(payment["refunded"]) + Decimal(amount)
        status = "REFUNDED" if refunded == Decimal(payment["amount"]) else "PARTIALLY_REFUNDED"
        changed = {"refunding": "0.00", "refunded": f"{refunded:.2f}", "status": status}
        payment |= {**changed, "updated_at": moment(self.now)}
        self._payment(id_, "u")
        self.refunds[refund_id] |= {"status": "SUCCEEDED", "ended_at": moment(self.now)}
        self._refund(refund_id, "u")
        self._book(id_, -Decimal(amount))
        return refund_id

    def heartbeat(self) -> None:
        for log in (self.orders_log, self.payments_log):
            self.messages.append(log.heartbeat(self.now))

    def snapshot(self) -> list[Message]:
        """All rows as they are, read anew; no messages of ``messages``."""
        taken = [self.orders_log.change("orders", "r", row, self.now, is_snapshot=True) for row in self.orders.values()]
        for table, rows in (
            ("payments", self.payments.values()),
            ("refunds", self.refunds.values()),
            ("ledger_entries", self.entries),
        ):
            taken += [self.payments_log.change(table, "r", row, self.now, is_snapshot=True) for row in rows]
        return taken

    def _order(self, id_: UUID, operation: str) -> None:
        self.messages.append(self.orders_log.change("orders", operation, self.orders[id_], self.now))

    def _payment(self, id_: UUID, operation: str) -> None:
        self.messages.append(self.payments_log.change("payments", operation, self.payments[id_], self.now))

    def _refund(self, id_: UUID, operation: str) -> None:
        self.messages.append(self.payments_log.change("refunds", operation, self.refunds[id_], self.now))

    def _book(self, id_: UUID, amount: Decimal) -> None:
        transaction = str(uuid4())
        for account, value in (("psp_receivable", amount), ("customer_payments", -amount)):
            row = {
                "id": next(self._entry_ids),
                "transaction_id": transaction,
                "order_id": str(id_),
                "account": account,
                "amount": f"{value:.2f}",
                "currency": self.payments[id_]["currency"],
                "at": moment(self.now),
            }
            self.entries.append(row)
            self.messages.append(self.payments_log.change("ledger_entries", "c", row, self.now))
