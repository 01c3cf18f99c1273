"""Backups of one VM may wait beside each other, one of each policy; one at a time is under way. And which points were given up of late.

Older code makes no second one while any is open, which the new rule allows. That one alone is under way is no rule of the schema: older
code, leading once more, would begin one beside one that was handed over, and a row that is refused would keep all others from beginning.
Newer code looks in the transaction that begins it (`under_way`).
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_ACTIVE = sa.text("kind = 'BACKUP' AND state = 'ACTIVE'")
_OPEN = sa.text("kind = 'BACKUP' AND state IN ('READY', 'ACTIVE')")


def upgrade() -> None:
    op.create_index("ix_restore_points_deleted", "restore_points", ["deleted_us"])
    op.create_index(
        "ix_runs_active_backup",
        "runs",
        ["vm_id", "repository_id"],
        sqlite_where=_ACTIVE,
        postgresql_where=_ACTIVE,
    )
    columns = ["vm_id", "repository_id", "policy_id"]
    op.create_index("uq_runs_open_backup_of", "runs", columns, unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.drop_index("uq_runs_open_backup", "runs")  # last: nobody reads runs from here to the end
