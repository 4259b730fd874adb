"""Where an item's stock was last found to be what its movements add up to, so that checking it again is short."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# A new table only: the version before neither reads nor writes it.
CHECKPOINTS = """
create table stock_checkpoints (
    item text primary key,
    movement_id bigint not null,
    on_hand integer not null,
    reserved integer not null,
    checked_at timestamptz not null
);
"""


def upgrade() -> None:
    op.execute(CHECKPOINTS)


def downgrade() -> None:
    op.execute("drop table stock_checkpoints")
