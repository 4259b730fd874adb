"""Traces: off without a trace, one per saga, and the ids by which it goes on when nobody hands its name on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased

from shared import tracing
from shared.envelope import Envelope, Received, StoredCause, caused_by
from shared.errors import OutOfStock
from shared.outbox import OutboxRow
from shared.tracing.export import QuietExporter
from shared.tracing.ids import Place, read_traceparent, span_id_of, trace_id_of
from shared.tracing.spans import ChosenIds, Tracer
from shared.tracing.statements import statement_name

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ORDER = UUID(int=7)
FOREIGN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Seen:
    """A tracer that keeps its spans."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        ids, self._kept = ChosenIds(), InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBased(sampler), id_generator=ids, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.tracer = Tracer(provider, ids, tracing._work, lambda: None)

    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._kept.get_finished_spans()

    def one(self, name: str) -> ReadableSpan:
        [span] = [span for span in self.spans() if span.name == name]
        return span

    def traces(self) -> set[int]:
        return {_place(span).trace_id for span in self.spans()}


def _place(span: ReadableSpan) -> Any:
    context = span.get_span_context()
    assert context is not None
    return context


@pytest.fixture
def seen() -> Iterator[Seen]:
    seen = Seen()
    tracing.trace_with(seen.tracer)
    yield seen
    tracing.leave(is_done=False)
    tracing.trace_with(None)


def an_event(order: UUID | None = ORDER, traceparent: str | None = None, type: str = "ORDER_CREATED") -> Received[Any]:
    envelope = Envelope(
        event_id=uuid4(),
        type=type,
        source="order_service",
        correlation_id="request-1",
        causation_id=None,
        occurred_at=NOW,
        schema_version=1,
        traceparent=traceparent,
    )
    return Received(envelope=envelope, payload={}, body=SimpleNamespace(order_id=order))


def a_row(number: int, traceparent: str | None = FOREIGN) -> OutboxRow:
    return OutboxRow(id=number, aggregate_id=str(ORDER), envelope=an_event(traceparent=traceparent).envelope, body=b"")


class TestOff:
    def test_nothing_of_opentelemetry_is_imported(self) -> None:
        """Given no collector, then no process loads what it would trace with."""
        script = (
            "import sys, gateway.app, gateway.rpc, order_service.service, payment_service.service, shared.relay\n"
            "from shared.tracing import configure_tracing, is_on\n"
            "configure_tracing('p', {'OTEL_SDK_DISABLED': 'true', 'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://x'})\n"
            "configure_tracing('p', {'OTEL_EXPORTER_OTLP_ENDPOINT': '', 'OTEL_TRACES_EXPORTER': 'otlp'})\n"
            "configure_tracing('p', {'OTEL_TRACES_EXPORTER': 'none', 'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://x'})\n"
            "assert not is_on()\n"
            "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
        )
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120, check=True
        )
        assert ran.stdout.strip() == "[]"

    def test_every_question_is_answered_with_nothing(self) -> None:
        assert tracing.consuming("q", [an_event()]) is None
        assert tracing.answering("m", FOREIGN) is None
        assert tracing.serving("GET", None, "r", {}) is None
        assert tracing.order_placed(ORDER, "c", None) is None
        assert tracing.happened("n", ORDER, "c") is None
        assert tracing.of_order(ORDER, "c") is None
        assert tracing.current_traceparent() is None
        rows = [a_row(1)]
        with tracing.publishing(rows) as window, tracing.calling("n", ORDER, "c"), tracing.together("n", []):
            window.settled({})
        assert window.rows is rows


class TestNames:
    @given(trace_id=st.integers(1, 2**128 - 1), span_id=st.integers(1, 2**64 - 1), is_sampled=st.booleans())
    def test_are_read_as_they_are_written(self, trace_id: int, span_id: int, is_sampled: bool) -> None:
        place = Place(trace_id=trace_id, span_id=span_id, is_sampled=is_sampled)
        assert read_traceparent(str(place)) == place

    @given(st.one_of(st.text(), st.none(), st.integers(), st.binary()))
    def test_of_no_known_form_are_none(self, text: Any) -> None:
        assert read_traceparent(text) is None

    @pytest.mark.parametrize(
        "text",
        [
            f"00-{'0' * 32}-b7ad6b7169203331-01",
            f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
            FOREIGN.upper(),
            f"ff{FOREIGN[2:]}",
            f"{FOREIGN}-x",
            f"{FOREIGN}\n",
        ],
    )
    def test_that_the_standard_forbids_are_none(self, text: str) -> None:
        assert read_traceparent(text) is None

    @given(st.text(), st.text())
    def test_follow_from_ids_and_are_never_nought(self, one: str, other: str) -> None:
        assert trace_id_of(one) > 0
        assert span_id_of(one) > 0
        assert (trace_id_of(one) == trace_id_of(other)) == (one == other)

    def test_of_random_ids_are_spread_evenly_for_samplers(self) -> None:
        """Given UUIDs, whose bits are not all random, when one of ten is sampled, then it is one of ten."""
        sampler = TraceIdRatioBased(0.1)
        decisions = [sampler.should_sample(None, trace_id_of(str(UUID(int=n, version=4))), "s") for n in range(5000)]
        assert 350 < sum(d.decision.is_sampled() for d in decisions) < 650


class TestBatches:
    def test_each_event_is_handled_in_its_own_trace(self, seen: Seen) -> None:
        """Given events of two orders, when they are handled together, then what each causes is in its own trace."""
        other = FOREIGN.replace("0af7", "1bf7")
        events = [an_event(traceparent=FOREIGN), an_event(UUID(int=8), traceparent=other)]
        work = tracing.consuming("queue", events)
        assert work is not None
        caused = [caused_by(e.envelope, type="T", source="s", now=NOW).traceparent for e in work.events]
        work.end()

        assert [_place(s).trace_id for s in seen.spans()] == [int(FOREIGN[3:35], 16), int(other[3:35], 16)]
        assert [read_traceparent(c) and read_traceparent(c).span_id for c in caused] == [  # type: ignore[union-attr]
            _place(s).span_id for s in seen.spans()
        ]
        assert [s.parent and s.parent.span_id for s in seen.spans()] == [int(FOREIGN[36:52], 16)] * 2
        assert {s.attributes["messaging.batch.message_count"] for s in seen.spans() if s.attributes} == {2}
        assert [e.payload for e in work.events] == [e.payload for e in events]

    def test_show_their_statements_in_each_trace_but_in_no_more_than_ten(self, seen: Seen) -> None:
        events = [an_event(UUID(int=n)) for n in range(1, 41)]
        named = [
            Received(
                envelope=caused_by(
                    StoredCause(event_id=e.envelope.event_id, correlation_id=str(n)), type="T", source="s", now=NOW
                ),
                payload={},
                body=e.body,
            )
            for n, e in enumerate(events)
        ]
        work = tracing.consuming("queue", named)
        assert work is not None
        work.sent(("insert into inbox select 1", 1, 2_000_001, None))
        work.end()

        shown = [s for s in seen.spans() if s.name == "sql insert inbox"]
        handled = [s for s in seen.spans() if s.name == "process T"]
        assert (len(shown), len(handled)) == (10, 40)
        assert {(s.attributes or {})["ordersaga.sql.ms"] for s in handled} == {2.0}

    def test_that_fail_say_so_by_code_and_not_in_words(self, seen: Seen) -> None:
        work = tracing.consuming("queue", [an_event()])
        assert work is not None
        work.end(OutOfStock("item of Ann, Secret Street"))
        [span] = seen.spans()
        assert (span.attributes or {})["error.type"] == "out_of_stock"
        assert "Secret" not in span.to_json()

    def test_an_event_without_a_trace_joins_that_of_its_correlation_id(self, seen: Seen) -> None:
        work = tracing.consuming("queue", [an_event(traceparent="no such thing")])
        assert work is not None
        work.end()
        assert seen.traces() == {trace_id_of("request-1")}


class TestTheRelay:
    def test_publishes_under_the_row_and_is_the_parent_of_what_handles_it(self, seen: Seen) -> None:
        with tracing.publishing([a_row(1), a_row(2)]) as window:
            sent = [read_traceparent(row.envelope.traceparent) for row in window.rows]
            window.settled({2: "unroutable"})

        assert [s and s.span_id for s in sent] == [_place(s).span_id for s in seen.spans()]
        assert [s.status.is_ok for s in seen.spans()] == [True, False]
        assert seen.traces() == {int(FOREIGN[3:35], 16)}

    def test_that_loses_the_broker_ends_its_spans(self, seen: Seen) -> None:
        with pytest.raises(ConnectionError), tracing.publishing([a_row(1)]):
            raise ConnectionError("password in it")
        [span] = seen.spans()
        assert not span.status.is_ok
        assert "password" not in span.to_json()


class TestASaga:
    def _placed(self, request_id: str = "request-1") -> str:
        request = tracing.serving("POST /orders", None, request_id, {})
        assert request is not None
        tracing.order_placed(ORDER, request_id, tracing.current_traceparent())
        tracing.leave(is_done=True)
        return str(request_id)

    def test_begun_by_a_request_is_the_trace_of_its_id(self, seen: Seen) -> None:
        self._placed()
        assert seen.traces() == {trace_id_of("request-1")}
        assert _place(seen.one("place order")).span_id == span_id_of(ORDER)

    def test_goes_on_in_its_trace_when_a_person_asks_later(self, seen: Seen) -> None:
        """Given another request about the order, then what it does is in the saga's trace and linked to the request."""
        self._placed()
        tracing.serving("POST /cancel", None, "request-2", {})
        tracing.happened("CANCEL_REQUESTED", ORDER, "request-1")
        tracing.leave(is_done=True)

        cancelled = seen.one("CANCEL_REQUESTED")
        assert _place(cancelled).trace_id == trace_id_of("request-1")
        assert [link.context.trace_id for link in cancelled.links] == [trace_id_of("request-2")]

    def test_is_found_by_a_process_that_never_saw_it(self, seen: Seen) -> None:
        """Given another process, when a timer there comes to the order, then it is a child of the placing."""
        self._placed()
        stranger = Seen()
        tracing.trace_with(stranger.tracer)
        tracing.happened("DEADLINE_PASSED", ORDER, "request-1")

        [span] = stranger.spans()
        assert span.parent is not None
        assert (span.parent.trace_id, span.parent.span_id) == (trace_id_of("request-1"), span_id_of(ORDER))

    def test_answers_of_the_provider_are_under_its_call(self, seen: Seen) -> None:
        self._placed()
        with tracing.calling("provider charge", ORDER, "request-1"):
            pass
        with tracing.together("save answers", [(ORDER, "request-1")]):
            announced = tracing.of_order(ORDER, "request-1")
        call, saved = seen.one("provider charge"), seen.one("save answers")
        assert saved.parent is not None
        assert saved.parent.span_id == _place(call).span_id
        assert announced == str(
            Place(trace_id=trace_id_of("request-1"), span_id=_place(saved).span_id, is_sampled=True)
        )

    def test_that_is_not_sampled_is_not_sampled_anywhere(self) -> None:
        """Given a saga that is left out, then all of it is: its name says so to everybody."""
        seen = Seen(ALWAYS_OFF)
        tracing.trace_with(seen.tracer)
        try:
            self._placed()
            for name in (tracing.of_order(ORDER, "request-1"), tracing.happened("x", UUID(int=9), "request-9")):
                assert name is not None
                assert name.endswith("-00")
            assert seen.spans() == ()
        finally:
            tracing.trace_with(None)


class TestStatements:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("select 1", "sql select"),
            ("insert into inbox (id)\nselect 1", "sql insert inbox"),
            ("select a from orders o for update skip locked", "sql from orders"),
            ("with x as (delete from a) update b set c; insert into d", "sql delete a, update b, insert d"),
            ("update a; update b; update c; update d", "sql update a, update b, update c, …"),
        ],
    )
    def test_are_called_by_what_they_do(self, text: str, name: str) -> None:
        assert statement_name(text) == name


class TestACollectorThatIsAway:
    def test_is_said_once_and_never_raised(self) -> None:
        class Away(SpanExporter):
            is_away = True

            def export(self, spans: Any) -> SpanExportResult:
                if self.is_away:
                    raise ConnectionError
                return SpanExportResult.SUCCESS

            def shutdown(self) -> None:
                return None

        away, logged = Away(), []
        exporter = QuietExporter(away)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "shared.tracing.export.log",
                SimpleNamespace(
                    warning=lambda event, **f: logged.append((event, f)),
                    info=lambda event, **f: logged.append((event, f)),
                ),
            )
            lost: Any = [SimpleNamespace()]
            assert [exporter.export(lost) for _ in range(2)] == [SpanExportResult.FAILURE] * 2
            away.is_away = False
            assert exporter.export([]) is SpanExportResult.SUCCESS
        assert logged[0] == ("traces_not_exported", {"error": "ConnectionError"})
        assert logged[1:] == [("traces_exported_again", {"lost": 2})]
