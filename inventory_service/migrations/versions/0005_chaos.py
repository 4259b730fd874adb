"""Trouble made on purpose: which is on, and until when."""

from alembic import op

from shared.chaos.switches import CHAOS_TABLE_V1

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A new table only: the version before neither reads nor writes it.
    op.execute(CHAOS_TABLE_V1)


def downgrade() -> None:
    op.execute("drop table chaos_switches")
