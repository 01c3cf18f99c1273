"""Why the controller began a check by itself, beside its request: the last of each kind is found among any number of other jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

jobs = sa.table("jobs", sa.column("kind", sa.Text), sa.column("request", sa.Text), sa.column("because", sa.Text))


def upgrade() -> None:
    op.add_column("jobs", sa.Column("because", sa.Text(), server_default="", nullable=False))
    op.create_index("ix_jobs_because", "jobs", ["repository_id", "because", "id"])
    for because in ("new", "rolling", "policy"):
        began = f'{{"because": "{because}"'  # so begin the requests that the controller wrote: their keys are sorted
        same = sa.func.substr(jobs.c.request, 1, len(began)) == began
        op.execute(sa.update(jobs).where(jobs.c.kind == "CHECK", same).values(because=because))
