"""Indexes for whoever reads the audit log."""

from alembic import op

from shared.audit import AUDIT_INDEXES_V2

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(AUDIT_INDEXES_V2)


def downgrade() -> None:
    op.execute("drop index audit_log_actor, audit_log_action, audit_log_object_id")
