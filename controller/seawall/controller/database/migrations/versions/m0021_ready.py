"""An index of what is READY alone. `ix_runs_waiting` held all runs there ever were, and on PostgreSQL another one was taken for it.

By day nothing is READY, and that is what its statistics say at night: any index that begins with the state looked as good to it, and the
scheduler read thousands of rows for each number it asked for. The new one stands for nothing else. The state is in it because SQLite would
else look it up in each row. Older code does not name it and reads `ix_runs_of_state`, slower.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    ready = sa.text("state = 'READY'")
    columns = ["state", "not_before_us", "deadline_us", "version", "id"]
    op.create_index("ix_runs_ready", "runs", columns, sqlite_where=ready, postgresql_where=ready)
    op.drop_index("ix_runs_waiting", "runs")
