"""When this database's controller last opened a repository, as the bucket numbers it; and which points are proven."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("gc", sa.Column("opened_epoch", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("restore_points", sa.Column("verified_us", sa.BigInteger(), server_default="0", nullable=False))
