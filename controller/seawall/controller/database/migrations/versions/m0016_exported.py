"""Which export of each bucket this database knows: a bucket that holds a newer one tells of a time that the database has lost."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_table(
        "exported",
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("number", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("exported_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("document_hash", sa.LargeBinary(), nullable=False),
        sa.Column("waits", sa.Text(), server_default="", nullable=False),
        sa.Column("waits_since_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("put_back", sa.Text(), server_default="", nullable=False),
        sa.Column("put_back_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["repositories.id"], name="fk_exported_repository_id"),
        sa.PrimaryKeyConstraint("repository_id", name="pk_exported"),
    )
