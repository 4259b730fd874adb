"""Carts, the audit log, and indexes for whoever looks for orders."""

from alembic import op

from shared.audit import AUDIT_TABLE_V1

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# New tables and indexes only: the version before neither reads nor writes them.
CARTS = """
create table carts (
    id uuid primary key,
    user_id text not null,
    status text not null check (status in ('OPEN', 'ORDERED')),
    order_id uuid,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    check ((status = 'ORDERED') = (order_id is not null))
);
create table cart_items (
    cart_id uuid not null,
    item text not null,
    quantity integer not null check (quantity between 1 and 1000),
    primary key (cart_id, item)
);
"""
# An order's row is written anew with each step, and each time its entry in every index of orders that it is in; the
# rows of order_items and order_events never. So what is searched stands in theirs where it can.
INDEXES = """
create index orders_seller on orders (seller_id, id);
create index orders_status on orders (status, id);
create index orders_unsettled on orders (id) where status = 'CANCELLED' and settled_at is null;
create index orders_flagged on orders (id) where flag is not null;
create index orders_tracking on orders (tracking) where tracking is not null;
create index order_items_item on order_items (item, order_id);
create index order_events_request on order_events (correlation_id) where causation_id is null;
"""


def upgrade() -> None:
    for statements in (CARTS, AUDIT_TABLE_V1, INDEXES):
        op.execute(statements)


def downgrade() -> None:
    raise NotImplementedError("going back would forget carts and who did what")
