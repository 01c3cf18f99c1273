"""What the bytes of a pack's later generation hash to. Those of before nobody noted down."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("packs", sa.Column("hashed_generation", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("packs", sa.Column("generation_hash", sa.LargeBinary(), nullable=True))
