"""Figures that stand in a service's tables, asked for when somebody wants to know: with a scrape, or by a probe.

Owns: asking at most once per moment, never for longer than a scrape may take, and what is said while the database is
away. Must not know: which figures there are, or any table.

Every replica answers with the same numbers, so statements must be cheap, whatever the tables hold: a partial index, or
a count that stops at COUNTED_TO.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from sqlalchemy import TextClause, text

from shared.database import Sessions, Transaction, transaction
from shared.errors import DatabaseUnavailable, TransientError
from shared.logs import get_logger

log = get_logger(__name__)

COUNTED_TO = 10_000
REMEMBERED_S = 2.0
ANSWER_LIMIT_S = 4.0
# With statistics from a time when most orders were under way, the planner would read the whole table for few that are.
_CAREFUL = text("set local statement_timeout = 2000; set local enable_seqscan = off")

Rows = Sequence[tuple[tuple[str, ...], float]]


@dataclass(frozen=True, kw_only=True)
class TableFigure:
    """A gauge. ``statement`` gives its labels' values, in the order of ``labels``, and the value last.

    ``every_s``: how long an answer is good for; more than nothing where the statement reads a whole table.
    """

    name: str
    words: str
    statement: TextClause
    labels: tuple[str, ...] = ()
    every_s: float = 0.0


# Unpublished rows stand in an index of their own, which is empty most of the time.
OUTBOX_FIGURES = (
    TableFigure(
        name="ordersaga_outbox_unpublished_events",
        words=f"Events in the outbox that the broker does not have yet (counted to {COUNTED_TO})",
        statement=text(
            f"select count(*) from (select 1 from outbox where published_at is null limit {COUNTED_TO}) as waiting"  # noqa: S608
        ),
    ),
    TableFigure(
        name="ordersaga_outbox_oldest_age_seconds",
        words="Age of the oldest of them; 0 when there is none",
        statement=text("""
            select coalesce((select extract(epoch from greatest(now() - occurred_at, interval '0')) from outbox
                             where published_at is null order by id limit 1), 0)"""),
    ),
)

# Told by the services, so that a slot is watched while nobody reads it. A slot whose log was given up has no position.
SLOT_FIGURES = tuple(
    TableFigure(
        name=f"ordersaga_replication_slot_{name}",
        words=words,
        statement=text(f"""
            select slot_name, {value} from pg_replication_slots
            where database = current_database() and {value} is not null"""),  # noqa: S608
        labels=("slot",),
    )
    for name, words, value in (
        ("retained_bytes", "What the slot keeps of the log", "pg_current_wal_lsn() - restart_lsn"),
        ("reserve_bytes", "What may still be written before the slot is given up", "safe_wal_size"),
        ("active", "1 while somebody reads from the slot", "active::int"),
        ("lost", "1 when the slot was given up: its log is gone", "(wal_status = 'lost')::int"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the database said. ``is_up``: whether it said anything; ``rows`` may be missing where it was too slow."""

    is_up: bool
    rows: Mapping[str, Rows] = field(default_factory=dict)


class TableFigures:
    """A collector. Safe from any thread, green or not."""

    def __init__(self, sessions: Sessions, figures: Iterable[TableFigure]) -> None:
        self._sessions = sessions
        self._figures = tuple(figures)
        self._lock = threading.Lock()
        self._answered = threading.Event()
        self._asked_at: float | None = None
        self._answer = Answer(is_up=False)
        self._answered_at = float("-inf")
        self._kept: dict[str, tuple[float, Rows]] = {}

    def collect(self) -> Iterable[Metric]:
        answer = self.ask()
        yield GaugeMetricFamily("ordersaga_database_up", "Whether this process reaches its database", answer.is_up)
        for figure in self._figures:
            if figure.name in answer.rows:
                family = GaugeMetricFamily(figure.name, figure.words, labels=figure.labels)
                for labels, value in answer.rows[figure.name]:
                    family.add_metric(labels, value)
                yield family

    def ask(self) -> Answer:
        """Not older than REMEMBERED_S; down when a question has gone unanswered for ANSWER_LIMIT_S.

        One question at a time: while the database hangs, those who come later are told at once.
        """
        with self._lock:
            if self._is_fresh():
                return self._answer
            if self._asked_at is None:
                self._asked_at = time.monotonic()
                self._answered.clear()
                threading.Thread(target=self._ask_in_thread, name="table figures", daemon=True).start()
            patience_s = self._asked_at + ANSWER_LIMIT_S - time.monotonic()
        return self._answer if self._answered.wait(max(patience_s, 0.0)) else Answer(is_up=False)

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._answered_at < REMEMBERED_S

    def _ask_in_thread(self) -> None:
        answer = Answer(is_up=False)
        try:
            answer = self._ask()
        except Exception as error:
            log.error("table_figures_failed", exc_info=error)
        finally:
            with self._lock:
                self._answer, self._answered_at = answer, time.monotonic()
                self._asked_at = None
                self._answered.set()

    def _ask(self) -> Answer:
        rows: dict[str, Rows] = {}
        try:
            with transaction(self._sessions) as tx:
                tx.execute(_CAREFUL)
                for figure in self._figures:
                    rows[figure.name] = self._rows(tx, figure)
        except DatabaseUnavailable:
            return Answer(is_up=False)
        except TransientError as error:
            # Those before it were read: the outbox's come first.
            log.warning("table_figures_not_read", after=list(rows)[-1:], error=str(error)[:300])
        return Answer(is_up=True, rows=rows)

    def _rows(self, tx: Transaction, figure: TableFigure) -> Rows:
        asked_at, kept = self._kept.get(figure.name, (float("-inf"), ()))
        if time.monotonic() - asked_at < figure.every_s:
            return kept
        rows = _rows(tx.fetch(figure.statement))
        self._kept[figure.name] = (time.monotonic(), rows)
        return rows


def _rows(records: Iterable[Sequence[object]]) -> Rows:
    return [(tuple(str(label) for label in record[:-1]), float(str(record[-1]))) for record in records]
