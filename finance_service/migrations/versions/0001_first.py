"""Orders, payments, refunds and the ledger as the stream tells them, how far it is read, and how old that is."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
create table orders (
    id uuid primary key,
    seller_id text not null,
    status text not null,
    price numeric(12, 2) not null,
    currency text not null,
    created_at timestamptz not null,
    changed_at timestamptz not null,
    lsn bigint not null,
    is_gone boolean not null default false
) with (fillfactor = 70);
create index orders_created on orders (created_at);
create table payments (
    order_id uuid primary key,
    seller_id text,
    status text not null,
    amount numeric(12, 2) not null,
    currency text not null,
    refunded numeric(12, 2) not null,
    refunding numeric(12, 2) not null,
    captured_at timestamptz,
    changed_at timestamptz not null,
    lsn bigint not null,
    is_gone boolean not null default false
) with (fillfactor = 70);
create index payments_captured on payments (captured_at) where captured_at is not null;
create table refunds (
    id uuid primary key,
    order_id uuid not null,
    amount numeric(12, 2) not null,
    currency text not null,
    status text not null,
    ended_at timestamptz,
    changed_at timestamptz not null,
    lsn bigint not null,
    is_gone boolean not null default false
);
create index refunds_order on refunds (order_id);
create index refunds_ended on refunds (ended_at) where ended_at is not null;
create table ledger_entries (
    id bigint primary key,
    order_id uuid not null,
    account text not null,
    amount numeric(12, 2) not null,
    currency text not null,
    at timestamptz not null,
    changed_at timestamptz not null,
    lsn bigint not null,
    is_gone boolean not null default false
);
create index ledger_entries_order on ledger_entries (order_id);
create table sources (
    database text primary key,
    as_of timestamptz,
    lsn bigint,
    snapshot_at timestamptz,
    heard_at timestamptz not null
);
create table positions (
    stream text primary key,
    next_offset bigint not null,
    last_message_id text,
    moved_at timestamptz not null,
    messages bigint not null default 0,
    unreadable bigint not null default 0,
    losses integer not null default 0,
    lost_at timestamptz,
    lost_from bigint,
    lost_to bigint
);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    raise NotImplementedError("the first version has nothing to go back to")
