"""What stands in the stream, read; and what is answered, written.

Owns: the form of a message of `cdc.changes`, of moments and amounts in answers. Must not know: SQL, the broker.

Read tolerantly: columns and members that are not known here are left out, tables too. What is needed and is not there,
or is no amount or moment, makes the message unreadable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import orjson

from finance_service.domain import DATABASES, TABLES, Heartbeat, RowChange, Table, Told
from shared.errors import InvalidPayload
from shared.event_schema import moment_text

PUBLISHED: Mapping[str, Any] = {}
"""Nothing: the finance service tells nobody of what it sees."""

_Read = Callable[[Any], Any]
_DELETED = "d"


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise ValueError("not a text")
    return value


def _maybe(read: _Read) -> _Read:
    return lambda value: None if value is None else read(value)


def _amount(value: Any) -> str:
    """As text, as it goes into a statement."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("not an amount")
    amount = Decimal(value)
    if not amount.is_finite():
        raise ValueError("not an amount")
    return str(amount)


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    return moment


def _uuid(value: Any) -> str:
    return str(UUID(_text(value)))


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("not a whole number")
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """The columns of a table that are needed, and which of them is its key."""

    key: str
    columns: Mapping[str, _Read]


_FORMS: Mapping[Table, _Form] = {
    Table.ORDERS: _Form(
        key="id",
        columns={
            "id": _uuid,
            "seller_id": _text,
            "status": _text,
            "price": _amount,
            "currency": _text,
            "created_at": _moment,
        },
    ),
    Table.PAYMENTS: _Form(
        key="order_id",
        columns={
            "order_id": _uuid,
            "seller_id": _maybe(_text),
            "status": _text,
            "amount": _amount,
            "currency": _text,
            "refunded": _amount,
            "refunding": _amount,
            "updated_at": _moment,
        },
    ),
    Table.REFUNDS: _Form(
        key="id",
        columns={
            "id": _uuid,
            "order_id": _uuid,
            "amount": _amount,
            "currency": _text,
            "status": _text,
            "ended_at": _maybe(_moment),
        },
    ),
    Table.LEDGER: _Form(
        key="id",
        columns={
            "id": _whole,
            "order_id": _uuid,
            "account": _text,
            "amount": _amount,
            "currency": _text,
            "at": _moment,
        },
    ),
}


def read_message(body: bytes) -> Told | None:
    """None: it is about a database that nothing is known of here. Raises InvalidPayload."""
    try:
        said = orjson.loads(body)
        return _read(said)
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
        # The value itself may be anybody's: it is not repeated.
        raise InvalidPayload(f"not a change: {type(error).__name__}") from error


def _read(said: Mapping[str, Any]) -> Told | None:
    database = _text(said["database"])
    if database not in DATABASES:
        return None
    is_snapshot = said.get("isSnapshot") is True
    lsn, committed_at = said.get("lsn"), _moment(said["committedAt"])
    table = None if said.get("heartbeat") else TABLES.get((database, _text(said["table"])))
    if table is None:
        place = None if lsn is None else _whole(lsn)
        return Heartbeat(database=database, lsn=place, committed_at=committed_at, is_snapshot=is_snapshot)
    form, is_deleted = _FORMS[table], said["operation"] == _DELETED
    row = None if is_deleted else {name: read(said["after"].get(name)) for name, read in form.columns.items()}
    of_key = said["before"] if is_deleted else said["after"]
    return RowChange(
        database=database,
        table=table,
        key=str(form.columns[form.key](of_key[form.key])),
        lsn=_whole(lsn),
        committed_at=committed_at,
        row=row,
        is_snapshot=is_snapshot,
    )


# Answers


def amount_text(amount: Decimal) -> str:
    return f"{amount:.2f}"


def maybe_moment_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment_text(moment)
