"""Orders by the end of their id, which is what lists show of it."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # An index only: the version before neither needs nor minds it.
    op.execute("create index order_items_order_tail on order_items (right(order_id::text, 8))")


def downgrade() -> None:
    op.execute("drop index order_items_order_tail")
