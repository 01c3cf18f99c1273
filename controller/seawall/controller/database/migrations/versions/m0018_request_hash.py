"""What was asked for, beside each remembered answer: the same request id with another request is no repetition. Empty: from before."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("idempotency", sa.Column("request_hash", sa.Text(), server_default="", nullable=False))
