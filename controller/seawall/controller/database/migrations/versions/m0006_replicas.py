"""Several controllers on one database: who leads and where to reach it, who is there, which transactions were committed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    for name in ("works_since", "cluster_id"):
        op.add_column("meta", sa.Column(name, sa.Text(), server_default="", nullable=False))
    for name in ("operator_address", "agent_address"):
        op.add_column("leader", sa.Column(name, sa.Text(), server_default="", nullable=False))
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), server_default="", nullable=False),
        sa.Column("operator_address", sa.Text(), server_default="", nullable=False),
        sa.Column("agent_address", sa.Text(), server_default="", nullable=False),
        sa.Column("seen_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replicas")),
    )
    op.create_table(
        "write_marks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("written_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("void", sa.SmallInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_write_marks")),
    )
