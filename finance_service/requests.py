"""What is asked of the finance view: read, allowed, looked up, written. Operators only, whoever passes it on.

Owns: arguments and answers of each request. Must not know: Nameko, SQL, where the figures come from.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import orjson

from finance_service import report_queries
from finance_service.domain import (
    CUT,
    DATABASES,
    ORDER,
    PAYMENT,
    Money,
    age_s,
    difference,
    is_certain,
    is_stale,
    is_whole,
    known_until,
    net,
    not_captured,
)
from finance_service.report_queries import AfterRow, Wanted
from finance_service.schemas import amount_text, maybe_moment_text
from finance_service.settings import Settings
from shared import pages
from shared.database import Transaction
from shared.errors import Forbidden, InvalidRequest
from shared.event_schema import moment_text
from shared.identity import Identity, Role

LONGEST_PERIOD = timedelta(days=366)
MOST_DIFFERENCES = 100
_MOST_LOOKED_AT = 1_000
_AMOUNTS = ("placed", "ordered", "ordered_captured", "captured", "refunded")
_COUNTS = ("placed_orders", "standing_orders", "payments", "refunds")


def refuse_all_but_operators(caller: Identity) -> None:
    """Raises Forbidden."""
    if not caller.has(Role.ADMIN):
        raise Forbidden("the finance view is for operators")


def finance_report(
    tx: Transaction,
    caller: Identity,
    settings: Settings,
    *,
    since: Any,
    until: Any,
    seller_id: Any = None,
    currency: Any = None,
    limit: Any = 50,
    cursor: Any = None,
) -> dict[str, Any]:
    """{"rows": by day (newest first), seller and currency, "nextCursor", "totals": by currency} and :func:`state`.

    ``since`` and ``until`` are days of UTC, both included. Raises Forbidden, InvalidRequest.
    """
    refuse_all_but_operators(caller)
    pages.check_limit(limit)
    wanted = _wanted(since, until, seller_id, currency)
    found = report_queries.rows(tx, wanted, _read_cursor(cursor), limit + 1)
    return {
        "rows": [_figures(row) for row in found[:limit]],
        "nextCursor": _write_cursor(found[limit - 1]) if len(found) > limit else None,
        "totals": [_figures(row) for row in report_queries.totals(tx, wanted)],
        **_state(tx, settings),
    }


def finance_figures(
    tx: Transaction, caller: Identity, settings: Settings, *, since: Any, until: Any, currency: Any = None
) -> dict[str, Any]:
    """What was captured and given back, by currency, as the ledger would tell it.

    {"now": all that is known, "settled": what moved before "cut", which the ledger can be asked for too, so that a
    difference in it has nothing to do with how old the view is; "cut": None while nothing is known}. And
    :func:`finance_state`. Raises Forbidden, InvalidRequest.
    """
    refuse_all_but_operators(caller)
    wanted = _wanted(since, until, None, currency)
    state = _state(tx, settings)
    as_of = next(source["asOf"] for source in state["sources"] if source["database"] == PAYMENT)
    cut = datetime.fromisoformat(as_of) - CUT if as_of else None
    settled = report_queries.money(tx, wanted.since, min(wanted.until, cut), wanted.currency) if cut else []
    return {
        "now": [_money(row) for row in report_queries.money(tx, wanted.since, wanted.until, wanted.currency)],
        "settled": [_money(row) for row in settled],
        "cut": maybe_moment_text(cut),
        **state,
    }


def finance_differences(
    tx: Transaction, caller: Identity, *, since: Any, until: Any, seller_id: Any = None, currency: Any = None
) -> dict[str, Any]:
    """{"certain", "uncertain": how many, "isCut": there are more, "orders": MOST_DIFFERENCES, certain ones first}.

    Of orders that were placed, or paid, in these days. An uncertain one may be explained by what is still on its way.
    Raises Forbidden, InvalidRequest.
    """
    refuse_all_but_operators(caller)
    wanted = _wanted(since, until, seller_id, currency)
    known = known_until({row.database: row.as_of for row in report_queries.sources(tx)})
    rows = report_queries.suspicious_orders(tx, wanted, _MOST_LOOKED_AT)
    found = [one for row in rows if (one := _difference(row, known)) is not None]
    certain = sum(one["isCertain"] for one in found)
    return {
        "certain": certain,
        "uncertain": len(found) - certain,
        "isCut": len(rows) == _MOST_LOOKED_AT or len(found) > MOST_DIFFERENCES,
        "orders": sorted(found, key=lambda one: not one["isCertain"])[:MOST_DIFFERENCES],
    }


def finance_state(tx: Transaction, caller: Identity, settings: Settings) -> dict[str, Any]:
    """How old the view is. Raises Forbidden."""
    refuse_all_but_operators(caller)
    return _state(tx, settings)


# Reading


def _wanted(since: Any, until: Any, seller_id: Any, currency: Any) -> Wanted:
    first, last = _day("from", since), _day("to", until)
    if not timedelta(0) <= last - first < LONGEST_PERIOD:
        words = f"must be on `from` or later, at most {LONGEST_PERIOD.days} days in all"
        raise InvalidRequest("these days are no period", {"errors": {"to": [words]}})
    return Wanted(
        since=datetime.combine(first, time(), UTC),
        until=datetime.combine(last, time(), UTC) + timedelta(days=1),
        seller_id=pages.filter_text("seller", seller_id),
        currency=pages.filter_text("currency", currency),
    )


def _day(name: str, value: Any) -> date:
    try:
        day = date.fromisoformat(value)
        # The day behind it is needed too.
        datetime.combine(day, time(), UTC) + timedelta(days=1)
    except (TypeError, ValueError, OverflowError):
        raise InvalidRequest(f"{name} is not a day", {"errors": {name: ["must be a day such as 2026-01-31"]}}) from None
    return day


def _read_cursor(cursor: Any) -> AfterRow | None:
    text = pages.text_cursor(cursor)
    if text is None:
        return None
    try:
        day, seller_id, currency = orjson.loads(base64.urlsafe_b64decode(text.encode()))
        if not (isinstance(seller_id, str) and isinstance(currency, str)) or "\x00" in seller_id + currency:
            raise ValueError("not texts")
        return AfterRow(day=date.fromisoformat(day), seller_id=seller_id, currency=currency)
    except (ValueError, TypeError, binascii.Error):
        raise InvalidRequest("cursor is not one of ours", {"errors": {"cursor": ["not a cursor"]}}) from None


def _write_cursor(row: Any) -> str:
    place = [row.day.isoformat(), row.seller_id, row.currency]
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


# Writing


def _figures(row: Any) -> dict[str, Any]:
    """Of a day and seller, or of all of them: totals have neither."""
    said = row._mapping
    of = {"day": row.day.isoformat(), "sellerId": row.seller_id} if "day" in said else {}
    return {
        **of,
        "currency": row.currency,
        **{_camel(name): int(said[name]) for name in _COUNTS},
        **{_camel(name): amount_text(said[name]) for name in _AMOUNTS},
        "notCaptured": amount_text(not_captured(row.ordered, row.ordered_captured)),
        "net": amount_text(net(row.captured, row.refunded)),
    }


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _money(row: Any) -> dict[str, str]:
    return {
        "currency": row.currency,
        "captured": amount_text(row.captured),
        "refunded": amount_text(row.refunded),
    }


def _difference(row: Any, known: datetime | None) -> dict[str, Any] | None:
    said = row._mapping
    money = Money(**{name: said[name] for name in Money.__slots__})
    kind = difference(money)
    if kind is None:
        return None
    return {
        "kind": kind.value,
        "orderId": str(row.id),
        "sellerId": row.seller_id or None,
        "orderStatus": row.order_status,
        "price": None if row.price is None else amount_text(row.price),
        "paymentStatus": row.payment_status,
        "captured": amount_text(money.captured),
        "refunded": amount_text(row.refunded),
        "carriedOut": amount_text(row.carried_out),
        "receivable": amount_text(row.receivable),
        "currency": row.payment_currency or row.order_currency,
        "since": moment_text(row.since),
        "isCertain": is_certain(row.since, known),
    }


def _state(tx: Transaction, settings: Settings) -> dict[str, Any]:
    rows = {row.database: row for row in report_queries.sources(tx)}
    moments = {name: rows[name].as_of if name in rows else None for name in DATABASES}
    position = report_queries.position(tx, settings.stream)
    snapshots = {name: rows[name].snapshot_at if name in rows else None for name in DATABASES}
    known = known_until(moments)
    return {
        "asOf": maybe_moment_text(known),
        "ageS": age_s(known, tx.now),
        "isStale": is_stale(known, tx.now, settings.stale_after),
        "staleAfterS": settings.stale_after.total_seconds(),
        "isWhole": is_whole(position.lost_at if position else None, snapshots, moments),
        "sources": [_source(name, moments, rows, tx.now, settings) for name in (ORDER, PAYMENT)],
        "stream": _stream(settings.stream, position),
    }


def _source(
    name: str, moments: Mapping[str, datetime | None], rows: Mapping[str, Any], now: datetime, settings: Settings
) -> dict[str, Any]:
    as_of = moments[name]
    return {
        "database": name,
        "asOf": maybe_moment_text(as_of),
        "ageS": age_s(as_of, now),
        "isStale": is_stale(as_of, now, settings.stale_after),
        "lsn": rows[name].lsn if name in rows else None,
    }


def _stream(name: str, position: Any | None) -> dict[str, Any]:
    if position is None:
        return {"name": name, "offset": None, "messages": 0, "unreadable": 0, "lost": None}
    lost = {
        "at": maybe_moment_text(position.lost_at),
        "from": position.lost_from,
        "to": position.lost_to,
        "times": position.losses,
    }
    return {
        "name": name,
        "offset": position.next_offset,
        "messages": position.messages,
        "unreadable": position.unreadable,
        "lost": lost if position.losses else None,
    }
