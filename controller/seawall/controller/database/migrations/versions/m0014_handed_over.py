"""Attempts whose hosts are done while the controller waits for the store. Those of before are waited for by their hosts."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("handed_over", sa.SmallInteger(), server_default="0", nullable=False))
