"""The certificate authority's state, shared by all controllers, and what agents say that they trust."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "authority",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("body", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_authority")),
    )
    op.create_table(
        "authority_said",
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("trusts", sa.Text(), server_default="", nullable=False),
        sa.Column("shows", sa.Text(), server_default="", nullable=False),
        sa.Column("said_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_authority_said_agent_id")),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("pk_authority_said")),
    )
