"""Who sold what is paid for, so that sellers see and refund their own; and who asked for what."""

from alembic import op

from shared.audit import AUDIT_TABLE_V1

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Payments made before this, or by the release before, have no seller: their customer and operators see them.
    op.execute("alter table payments add column seller_id text")
    op.execute(AUDIT_TABLE_V1)


def downgrade() -> None:
    raise NotImplementedError("what was recorded of who asked for what is not thrown away")
