"""When points were last read back. Points of before were proven at some time; what was read when, nobody noted down."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    for name in ("read_us", "checked_us", "tried_us"):
        op.add_column("restore_points", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.create_index("ix_restore_points_read", "restore_points", ["policy_id", "state", "read_us"])
