"""What is kept when a promise was broken: everything that helps to find out why.

Owns: what is read for it, and where it is put. Must not know: what was promised.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg2

from ops.books import Books
from ops.errors import StackError

from .settling import Settling

MOST_ORDERS = 10
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
# (name, database, statement with the order's id as its parameter)
_STORY = (
    ("order", "order", "select row_to_json(o) from orders o where id::text = %s"),
    ("lines", "order", "select row_to_json(i) from order_items i where order_id::text = %s"),
    ("history", "order", "select row_to_json(h) from order_status_history h where order_id::text = %s order by id"),
    ("timeline", "order", "select row_to_json(e) from order_events e where order_id::text = %s order by id"),
    ("order outbox", "order", "select row_to_json(o) from outbox o where aggregate_id = %s order by id"),
    ("inventory saga", "inventory", "select row_to_json(s) from sagas s where order_id::text = %s"),
    ("reservations", "inventory", "select row_to_json(r) from reservations r where order_id::text = %s"),
    ("movements", "inventory", "select row_to_json(m) from stock_movements m where order_id::text = %s order by id"),
    ("inventory outbox", "inventory", "select row_to_json(o) from outbox o where aggregate_id = %s order by id"),
    ("payment", "payment", "select row_to_json(p) from payments p where order_id::text = %s"),
    ("attempts", "payment", "select row_to_json(a) from payment_attempts a where order_id::text = %s order by id"),
    ("ledger", "payment", "select row_to_json(l) from ledger_entries l where order_id::text = %s"),
    ("payment outbox", "payment", "select row_to_json(o) from outbox o where aggregate_id = %s order by id"),
)


def keep(folder: Path, found: Mapping[str, Any], settling: Settling) -> Path:
    """Write the evidence into the stack's folder; the file."""
    complaints = found.get("complaints", [])
    document = {
        **found,
        "orders": _stories(settling, named_orders(complaints)),
        "queues": _queues(settling),
        "dead_letters": _letters(settling),
        "answers": dict(settling.load.ledger.answers),
        "unanswered": sorted(settling.load.ledger.open_keys)[:100],
        "logs": str(folder / "logs"),
    }
    path = folder / "evidence.json"
    path.write_text(json.dumps(document, indent=1, default=str), encoding="utf-8")
    return path


def named_orders(complaints: Iterable[str]) -> list[str]:
    """Ids that the complaints name, the first few."""
    found = [id_ for complaint in complaints for id_ in _UUID.findall(complaint)]
    return list(dict.fromkeys(found))[:MOST_ORDERS]


def _stories(settling: Settling, orders: Iterable[str]) -> dict[str, Any]:
    try:
        with Books(settling.arena.environment) as books:
            return {order: _story(books, order) for order in orders}
    except psycopg2.Error as error:
        return {"error": str(error)}


def _story(books: Books, order: str) -> dict[str, Any]:
    return {name: [row[0] for row in books.rows(database, sql, (order,))] for name, database, sql in _STORY}


def _queues(settling: Settling) -> dict[str, int]:
    with suppress(StackError):
        return settling.queue_counts()
    return {}


def _letters(settling: Settling) -> dict[str, list[dict[str, Any]]]:
    return {
        queue: [
            {"headers": dict(letter.headers), "body": letter.body[:2_000].decode("utf-8", "replace")}
            for letter in letters
        ]
        for queue, letters in settling.dead_letters().items()
    }
