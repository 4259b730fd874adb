"""Whose goods are held, so that sellers and customers see their own; and who asked for what."""

from alembic import op

from shared.audit import AUDIT_TABLE_V1

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Holdings made before this, or by the release before, have no seller: only their customer and operators see them.
# Lists walk the order of ids, which is that of time: along the primary key or one of these two. They cost one entry per
# order, because customer and seller are there when the row is inserted. The index on the time, which is not needed any
# more, was written again with every update of a reservation. (The release before lists without it, by sorting.)
CHANGES = """
alter table sagas add column seller_id text;
alter table stock_movements add column reason text;
create index sagas_of_user on sagas (user_id, order_id) where user_id is not null;
create index sagas_of_seller on sagas (seller_id, order_id) where seller_id is not null;
drop index reservations_newest;
"""


def upgrade() -> None:
    op.execute(CHANGES)
    op.execute(AUDIT_TABLE_V1)


def downgrade() -> None:
    raise NotImplementedError("what was recorded of who asked for what is not thrown away")
