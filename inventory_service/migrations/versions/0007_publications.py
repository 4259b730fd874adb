"""New outbox rows may be read from the log, by a relay that takes them from there."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Neither waits for writers nor keeps them waiting: the lock is vacuum's kind. While nobody reads it costs nothing.
    op.execute("create publication ordersaga_outbox for table outbox with (publish = 'insert')")


def downgrade() -> None:
    op.execute("drop publication ordersaga_outbox")
