"""Tables as CSV: all of their pages, for spreadsheets.

Owns: the form of the file. Must not know: which table.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flask import Response, request

MOST_ROWS = 10_000
# A spreadsheet would take what begins so for a formula, and customers choose some of these texts.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Ask = Callable[[str | None], tuple[list[dict[str, Any]], str | None]]
"""From a cursor (None at first) to rows and the next cursor."""


def wants_csv() -> bool:
    return request.args.get("format") == "csv"


def csv_of_all(name: str, columns: Sequence[str], ask: Ask) -> Response:
    """At most MOST_ROWS rows."""
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        more, cursor = ask(cursor)
        rows += more
        if cursor is None or len(rows) >= MOST_ROWS:
            return csv_response(name, columns, rows[:MOST_ROWS])


def csv_response(name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Response:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_harmless(row.get(column)) for column in columns])
    response = Response(text.getvalue(), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
