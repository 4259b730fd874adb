"""Every statement about redrive runs and their letters, each text constant.

Owns: SQL and how rows become values. A run's row is locked before its letters are written.
Must not know: why something is saved; what a dead letter is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from order_service.redriving import Letter, LetterState, Pace, Run, RunState
from shared.database import Transaction

_RUN = """id, state, reason, detail, filter, first, factor, most, per_second, size, next_at, lease, created_by,
          created_at, updated_at, ended_at"""
_INSERT_RUN = text("""
insert into redrive_runs (id, state, filter, first, factor, most, per_second, size, next_at, created_by,
                          created_at, updated_at)
select id, 'RUNNING', filter, first, factor, most, per_second, size, :now, created_by, :now, :now
from json_to_recordset(cast(:rows as json)) as r(
    id uuid, filter jsonb, first int, factor numeric, most int, per_second numeric, size int, created_by text)
""")
_INSERT_LETTERS = text("""
insert into redrive_letters (run_id, number, state, detail, queue, destination, fingerprint, identity, inbox_id,
                             event_id, event_type, error_code, failed_at)
select cast(:run_id as uuid), number, state, detail, queue, destination, fingerprint, identity, inbox_id,
       event_id, event_type, error_code, failed_at
from json_to_recordset(cast(:rows as json)) as r(
    number int, state text, detail text, queue text, destination text, fingerprint text, identity text,
    inbox_id uuid, event_id text, event_type text, error_code text, failed_at text)
""")
_RUN_ROW = text(f"select {_RUN} from redrive_runs where id = :id")  # noqa: S608
_RUN_FOR_UPDATE = text(f"select {_RUN} from redrive_runs where id = :id for update")  # noqa: S608
_RUNS = text(f"""
select {_RUN} from redrive_runs
where (cast(:before_id as uuid) is null or id < cast(:before_id as uuid))
  and (cast(:state as text) is null or state = :state)
order by id desc limit :limit
""")  # noqa: S608
_COUNTS = text("""
select run_id, state, count(*) as letters from redrive_letters where run_id = any(cast(:ids as uuid[]))
group by run_id, state
""")
# One driver at a time; whoever died with it in hand is waited for no longer than the lease.
_LEASE = text("""
update redrive_runs set lease = :lease, leased_until = clock_timestamp() + make_interval(secs => :seconds)
where id = :id and state = 'RUNNING' and (lease is null or leased_until < clock_timestamp())
returning lease
""")
_RENEW = text("""
update redrive_runs set leased_until = clock_timestamp() + make_interval(secs => :seconds)
where id = :id and lease = :lease
""")
_RELEASE = text("update redrive_runs set lease = null, leased_until = null where id = :id and lease = :lease")
_IN_WORK = text("""
(select number, state, since, detail, queue, destination, fingerprint, identity, inbox_id, known from redrive_letters
 where run_id = :id and state in ('SENDING', 'SENT'))
union all
(select number, state, since, detail, queue, destination, fingerprint, identity, inbox_id, known from redrive_letters
 where run_id = :id and state = 'SELECTED' order by number limit :limit)
order by number
""")
_SAVE_RUN = text("""
update redrive_runs set state = :state, reason = :reason, detail = :detail, size = :size,
    next_at = cast(:next_at as timestamptz), updated_at = :now,
    ended_at = case when :state = 'RUNNING' then null else coalesce(ended_at, :now) end
where id = :id
""")
_SAVE_LETTERS = text("""
update redrive_letters l set state = r.state, since = r.since, detail = r.detail, known = coalesce(r.known, l.known)
from json_to_recordset(cast(:rows as json)) as r(
    number int, state text, since timestamptz, detail text, known jsonb)
where l.run_id = :run_id and l.number = r.number and l.state = any(cast(:from_states as text[]))
""")
_LETTERS = text("""
select number, state, since, detail, queue, destination, event_id, event_type, error_code, failed_at
from redrive_letters
where run_id = :run_id and number > :after and (cast(:state as text) is null or state = :state)
order by number limit :limit
""")
_EVENT_IDS = text("""
select event_id from redrive_letters
where run_id = :run_id and number = any(cast(:numbers as integer[])) order by number
""")


def insert_run(tx: Transaction, run: Mapping[str, Any], letters: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_RUN, [dict(run)], now=tx.now)
    tx.save(_INSERT_LETTERS, letters, run_id=run["id"])


def run_row(tx: Transaction, run_id: UUID, *, for_update: bool = False) -> Row[Any] | None:
    return next(iter(tx.fetch(_RUN_FOR_UPDATE if for_update else _RUN_ROW, id=run_id)), None)


def run_rows(tx: Transaction, *, limit: int, before_id: UUID | None, state: str | None) -> Sequence[Row[Any]]:
    """Newest first."""
    return tx.fetch(_RUNS, limit=limit, before_id=before_id, state=state)


def counts(tx: Transaction, ids: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
    """Run → state of letters → how many."""
    found: dict[UUID, dict[str, int]] = {id_: {} for id_ in ids}
    for row in tx.fetch(_COUNTS, ids=[str(id_) for id_ in ids]) if ids else ():
        found[row.run_id][row.state] = row.letters
    return found


def lease(tx: Transaction, run_id: UUID, lease_id: UUID, seconds: float) -> bool:
    """Whether nobody else has it."""
    return bool(tx.fetch(_LEASE, id=run_id, lease=lease_id, seconds=seconds))


def renew(tx: Transaction, run_id: UUID, lease_id: UUID, seconds: float) -> None:
    tx.execute(_RENEW, id=run_id, lease=lease_id, seconds=seconds)


def release(tx: Transaction, run_id: UUID, lease_id: UUID) -> None:
    tx.execute(_RELEASE, id=run_id, lease=lease_id)


def in_work(tx: Transaction, run_id: UUID, upcoming: int) -> Sequence[Row[Any]]:
    """What is on its way, and the next ``upcoming`` of the selection."""
    return tx.fetch(_IN_WORK, id=run_id, limit=upcoming)


def save_run(tx: Transaction, run_id: UUID, run: Run) -> None:
    tx.execute(
        _SAVE_RUN,
        id=run_id,
        state=run.state,
        reason=run.reason,
        detail=run.detail,
        size=run.size,
        next_at=run.next_at.isoformat(),
        now=tx.now,
    )


def save_letters(
    tx: Transaction, run_id: UUID, rows: Sequence[dict[str, Any]], from_states: Sequence[LetterState]
) -> None:
    """``rows``: number, state, since, detail, known. Only those that are still in one of ``from_states``."""
    tx.save(_SAVE_LETTERS, rows, run_id=run_id, from_states=[str(state) for state in from_states])


def letter_rows(tx: Transaction, run_id: UUID, *, after: int, state: str | None, limit: int) -> Sequence[Row[Any]]:
    return tx.fetch(_LETTERS, run_id=run_id, after=after, state=state, limit=limit)


def event_ids(tx: Transaction, run_id: UUID, numbers: Sequence[int]) -> list[str | None]:
    return [row.event_id for row in tx.fetch(_EVENT_IDS, run_id=run_id, numbers=[str(n) for n in numbers])]


def run_of(row: Row[Any]) -> Run:
    pace = Pace(first=row.first, factor=float(row.factor), most=row.most, per_second=float(row.per_second))
    return Run(
        state=RunState(row.state),
        pace=pace,
        size=row.size,
        next_at=row.next_at,
        reason=row.reason,
        detail=row.detail,
    )


def letter_of(row: Row[Any]) -> Letter:
    return Letter(number=row.number, state=LetterState(row.state), since=row.since, detail=row.detail)
