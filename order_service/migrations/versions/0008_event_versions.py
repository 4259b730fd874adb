"""The major schema version of each event in the timeline: one that is said again is said as it was written."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# All that was written until now is of the first version, and so is what the version before goes on writing.
VERSION = "alter table order_events add column schema_version smallint not null default 1"


def upgrade() -> None:
    op.execute(VERSION)


def downgrade() -> None:
    raise NotImplementedError("going back would forget which versions the events in the timeline are of")
