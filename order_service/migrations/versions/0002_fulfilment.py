"""Approval, fulfilment, returns, flags, and when the timer must look at an order."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Columns with constant defaults do not rewrite the table. Until the last process of the version before has ended, it
# goes on inserting orders without these columns; wake_at's default, set after the column was added, makes the timer
# look at those soon and schedule them (rows that were there before stay null, so that the index is small).
COLUMNS = """
alter table orders
    add column refunded numeric(12, 2) not null default 0,
    add column awaits_approval boolean not null default false,
    add column approved_at timestamptz,
    add column fulfil_requested_at timestamptz,
    add column tracking text,
    add column flag text,
    add column flagged_at timestamptz,
    add column wake_at timestamptz;
alter table orders alter column wake_at set default now();
"""
INDEX = """
create index orders_wake on orders (wake_at) where wake_at is not null;
drop index orders_deadline;
"""
ROWS = """
update orders set wake_at = deadline_at where deadline_at is not null;
update orders set deadline_at = now() + interval '5 minutes', wake_at = now() + interval '5 minutes'
where status = 'CANCELLED' and settled_at is null or status = 'CONFIRMED' and stock <> 'HELD';
update orders set refunded = price where money = 'RETURNED';
"""
TABLES = """
create table order_returns (
    id uuid primary key,
    order_id uuid not null,
    restock boolean not null,
    refund_amount numeric(12, 2) not null check (refund_amount >= 0),
    status text not null check (status in ('REQUESTED', 'REFUNDED', 'REFUND_FAILED', 'COMPLETED')),
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index order_returns_order on order_returns (order_id);
create table order_return_lines (
    return_id uuid not null,
    item text not null,
    quantity integer not null check (quantity > 0),
    primary key (return_id, item)
);
"""


def upgrade() -> None:
    for statements in (COLUMNS, INDEX, ROWS, TABLES):
        op.execute(statements)


def downgrade() -> None:
    raise NotImplementedError("going back would forget approvals, fulfilments and returns")
