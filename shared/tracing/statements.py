"""What a statement is called in traces: its tables and its text, never the values in it.

Owns: a statement's span. Must not know: where statements come from.
"""

from __future__ import annotations

import re
from functools import lru_cache

from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context

from shared.tracing.work import Statement, fail

_LONGEST_TEXT = 2_000
_MOST_NAMED = 3
_DOES = re.compile(
    r"\b(insert into|update|delete from|from)\s+(?!skip\b|only\b|unnest\b|json_to_recordset\b)([a-z_]+)", re.IGNORECASE
)


def show_statement(tracer: Tracer, parent: Span, statement: Statement) -> None:
    text, began, ended, error = statement
    attributes = {"db.system.name": "postgresql", "db.query.text": text[:_LONGEST_TEXT]}
    context = set_span_in_context(parent)
    span = tracer.start_span(statement_name(text), context, SpanKind.CLIENT, attributes, start_time=began)
    if error is not None:
        fail(span, error)
    span.end(ended)


@lru_cache(maxsize=500)
def statement_name(text: str) -> str:
    """The tables and what is done to them: "sql insert inbox, from orders"."""
    found = list(dict.fromkeys(f"{verb.split()[0].lower()} {table.lower()}" for verb, table in _DOES.findall(text)))
    named = ", ".join(found[:_MOST_NAMED]) + (", …" if len(found) > _MOST_NAMED else "")
    return f"sql {named}" if named else f"sql {text.split(None, 1)[0].lower()}"
