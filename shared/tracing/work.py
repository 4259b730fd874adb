"""One piece of work that is traced: for one order's trace or, in a batch, for several at once.

Owns: when its spans end, and which of them show the statements that it sent. Must not know: what is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.trace import Span, Status, StatusCode

from shared.errors import OrderSagaError
from shared.tracing.ids import Place

MOST_TRACES_WITH_STATEMENTS = 10
"""In a batch of 200 each statement would be 200 spans; the others' spans say how many there were, and how long."""
MOST_STATEMENTS = 100

Statement = tuple[str, int, int, BaseException | None]
"""Text without its values, begin and end in nanoseconds, and its error."""


def place_of(span: Span) -> Place:
    context = span.get_span_context()
    return Place(trace_id=context.trace_id, span_id=context.span_id, is_sampled=context.trace_flags.sampled)


class Work:
    """``traceparent`` is its first span's: what is asked of others in the course of it belongs there."""

    def __init__(self, show_statement: Callable[[Span, Statement], None], spans: Sequence[Span] = ()) -> None:
        self._show_statement = show_statement
        self._spans = list(spans)
        self._statements: list[Statement] = []
        self._left_out = 0
        self.events: Sequence[Any] = ()
        self.began_ns = time.time_ns()

    @property
    def traceparent(self) -> str | None:
        return str(place_of(self._spans[0])) if self._spans else None

    @property
    def first(self) -> Span | None:
        return self._spans[0] if self._spans else None

    def add(self, span: Span) -> None:
        """Ends with the others, and shows the statements instead of an earlier one of the same trace."""
        self._spans.append(span)

    def sent(self, statement: Statement) -> None:
        if len(self._statements) < MOST_STATEMENTS:
            self._statements.append(statement)
        else:
            self._left_out += 1

    def set(self, **attributes: Any) -> None:
        """Of the first span, with underscores for dots."""
        if self._spans:
            self._spans[0].set_attributes({name.replace("__", "."): value for name, value in attributes.items()})

    def end(self, error: BaseException | None = None) -> None:
        """Once, whatever became of it."""
        spans, self._spans = [span for span in self._spans if span.is_recording()], []
        if not spans:
            return
        told = _sums(self._statements, self._left_out)
        by_trace = {span.get_span_context().trace_id: span for span in spans}
        for span in list(by_trace.values())[:MOST_TRACES_WITH_STATEMENTS]:
            for statement in self._statements:
                self._show_statement(span, statement)
        ends_at = time.time_ns()
        for span in spans:
            span.set_attributes(told)
            if error is not None:
                fail(span, error)
            span.end(ends_at)


def _sums(statements: Sequence[Statement], left_out: int) -> dict[str, Any]:
    if not statements:
        return {}
    spent_ns = sum(end - begin for _, begin, end, _ in statements)
    return {"ordersaga.sql.statements": len(statements) + left_out, "ordersaga.sql.ms": round(spent_ns / 1e6, 3)}


def fail(span: Span, error: BaseException) -> None:
    """The code of our own errors, the type of others: their texts may quote what nobody else should read."""
    code = error.code if isinstance(error, OrderSagaError) else type(error).__name__
    span.set_attribute("error.type", code)
    span.set_status(Status(StatusCode.ERROR, code))


class Window:
    """A window of the relay: a span for each event until the broker has it."""

    def __init__(self, rows: list[Any], spans: Sequence[tuple[int, Span]]) -> None:
        self.rows = rows
        self._spans = spans

    def settled(self, refused: Any) -> None:
        for row_id, span in self._spans:
            if row_id in refused:
                span.set_status(Status(StatusCode.ERROR, "refused"))
            span.end()
        self._spans = ()

    def lost(self, error: BaseException) -> None:
        for _, span in self._spans:
            fail(span, error)
            span.end()
        self._spans = ()
