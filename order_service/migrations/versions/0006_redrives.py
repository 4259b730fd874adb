"""Runs that bring dead letters back to work, and the letters that each was made for."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# New tables only: the version before neither reads nor writes them.
REDRIVES = """
create table redrive_runs (
    id uuid primary key,
    state text not null check (state in ('RUNNING', 'STOPPED', 'DONE')),
    reason text,
    detail text,
    filter jsonb not null,
    first integer not null,
    factor numeric(6, 2) not null,
    most integer not null,
    per_second numeric(8, 2) not null,
    size integer not null,
    next_at timestamptz not null,
    lease uuid,
    leased_until timestamptz,
    created_by text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    ended_at timestamptz
);
create table redrive_letters (
    run_id uuid not null,
    number integer not null,
    state text not null,
    since timestamptz,
    detail text,
    queue text not null,
    destination text not null,
    fingerprint text not null,
    identity text not null,
    inbox_id uuid,
    event_id text,
    event_type text,
    error_code text,
    failed_at text,
    known jsonb,
    primary key (run_id, number)
);
create index redrive_letters_state on redrive_letters (run_id, state, number);
"""


def upgrade() -> None:
    op.execute(REDRIVES)


def downgrade() -> None:
    raise NotImplementedError("going back would forget which dead letters were on their way")
