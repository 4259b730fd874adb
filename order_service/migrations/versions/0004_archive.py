"""The archive of finished orders, erasures, and indexes for the saga board and whoever reads the audit log."""

from alembic import op

from shared.audit import AUDIT_INDEXES_V2

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# New tables and indexes only: the version before neither reads nor writes them. (It would call an archived order
# unknown; but it archives none, and this one not before 90 days after the upgrade.)
TABLES = """
create table archived_orders (
    id uuid primary key,
    user_id text not null,
    seller_id text not null,
    status text not null,
    price numeric(12, 2) not null,
    currency text not null,
    money text not null,
    refunded numeric(12, 2) not null,
    archived_at timestamptz not null,
    document jsonb not null,
    late jsonb not null default '[]'
);
create index archived_orders_user on archived_orders (user_id, id);
create table erasures (
    id uuid primary key,
    user_id text not null,
    note text not null,
    requested_by text not null,
    requested_at timestamptz not null,
    place uuid,
    in_archive boolean not null default false,
    erased integer not null default 0,
    skipped integer not null default 0,
    finished_at timestamptz
);
create index erasures_open on erasures (id) where finished_at is null;
"""
# Paid orders that do not just wait to be shipped: few at any time, so few rows are ever written to it.
INDEX = """
create index orders_unshipped on orders (id)
    where status = 'CONFIRMED' and (fulfil_requested_at is not null or stock <> 'HELD');
"""


def upgrade() -> None:
    for statements in (TABLES, INDEX, AUDIT_INDEXES_V2):
        op.execute(statements)


def downgrade() -> None:
    raise NotImplementedError("going back would forget archived orders")
