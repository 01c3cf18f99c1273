"""What a point holds beside its disks. Points of before have none that anybody noted down."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("restore_points", sa.Column("members", sa.Text(), server_default="[]", nullable=False))
