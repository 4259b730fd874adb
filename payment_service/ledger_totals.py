"""What the ledger adds up to, for whoever tells revenue from elsewhere and wants to know whether it is true.

Owns: sums of the ledger by currency, and by day. Must not know: Nameko, HTTP, who else reckons.

The ledger is read as a whole between two moments: it has no index for that, and is asked by people, not by orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from payment_service.ledger import PROVIDER
from shared import pages, reconciliation
from shared.database import Transaction
from shared.errors import InvalidRequest
from shared.event_schema import moment_text
from shared.identity import Identity

# What the provider owes us grows with a capture and shrinks with what is given back.
_SUMS = f"""
coalesce(sum(amount) filter (where amount > 0), 0) as captured,
coalesce(-sum(amount) filter (where amount < 0), 0) as refunded,
coalesce(sum(amount) filter (where amount > 0 and at < :before), 0) as settled_captured,
coalesce(-sum(amount) filter (where amount < 0 and at < :before), 0) as settled_refunded
from ledger_entries
where account = '{PROVIDER}' and at >= :since and at < :until
  and (cast(:currency as text) is null or currency = :currency)
"""
_TOTALS = text(f"select currency, {_SUMS} group by currency order by currency")
_BY_DAY = text(f"""
select cast(at at time zone 'UTC' as date) as day, currency, {_SUMS} group by 1, currency order by 1, currency
""")
_UNBALANCED = text("""
select count(*) as number from (
    select 1 from ledger_entries where at >= :since and at < :until
    group by transaction_id, currency having sum(amount) <> 0) unbalanced
""")


def ledger_totals(
    tx: Transaction,
    caller: Identity,
    *,
    since: Any,
    until: Any,
    before: Any = None,
    currency: Any = None,
    by_day: Any = False,
) -> dict[str, Any]:
    """{"asOf", "totals", "unbalanced", "days"}: what was captured and given back from ``since`` until ``until``.

    Each with "settled": the same, of what moved before ``before`` (until now without it). "days": those of UTC, if
    asked for. "unbalanced": transactions that do not add up to nothing. Raises Forbidden, InvalidRequest.
    """
    reconciliation.refuse_all_but_operators(caller)
    moments = {"since": _moment("since", since), "until": _moment("until", until)}
    last = pages.filter_moment("before", before) or tx.now
    said = {**moments, "before": last, "currency": pages.filter_text("currency", currency)}
    (unbalanced,) = tx.fetch(_UNBALANCED, **moments)
    return {
        "asOf": moment_text(tx.now),
        "totals": [_total(row) for row in tx.fetch(_TOTALS, **said)],
        "unbalanced": unbalanced.number,
        "days": _days(tx.fetch(_BY_DAY, **said)) if by_day is True else [],
    }


def _moment(name: str, value: Any) -> datetime:
    moment = pages.filter_moment(name, value)
    if moment is None:
        raise InvalidRequest(f"{name} is missing", {"errors": {name: ["Missing data for required field."]}})
    return moment


def _days(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"day": row.day.isoformat(), **_total(row)} for row in rows]


def _total(row: Any) -> dict[str, Any]:
    return {
        "currency": row.currency,
        "captured": _text(row.captured),
        "refunded": _text(row.refunded),
        "settled": {"captured": _text(row.settled_captured), "refunded": _text(row.settled_refunded)},
    }


def _text(amount: Decimal) -> str:
    return f"{amount:.2f}"
