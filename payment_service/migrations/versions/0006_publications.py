"""What may be read from the log: the captured tables, and new outbox rows for a relay that takes them from there."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Neither waits for writers nor keeps them waiting: the lock is vacuum's kind. While nobody reads they cost nothing.
    op.execute(
        "create publication ordersaga_cdc for table payments, refunds, ledger_entries, outbox"
        " with (publish = 'insert, update, delete')"
    )
    op.execute("create publication ordersaga_outbox for table outbox with (publish = 'insert')")


def downgrade() -> None:
    op.execute("drop publication ordersaga_outbox")
    op.execute("drop publication ordersaga_cdc")
