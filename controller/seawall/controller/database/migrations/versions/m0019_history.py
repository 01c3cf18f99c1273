"""Indexes for a database with a year behind it: what few rows answer is found without reading those of all that is over.

`ix_runs_of_state` begins with what `ix_runs_state` is, and answers all that that did, for older code too: it takes its place, at the very
end, because what is dropped stops even readers until the migration is over.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_AVAILABLE = "state = 'AVAILABLE'"
_ROOT = "state IN ('PUBLISHING', 'AVAILABLE', 'DELETING')"
_NEWEST = ["state", "policy_id", "vm_id", "repository_id", "instant_us", "published_us", "virtual_bytes", "verified_us"]
_POINTS = (
    ("newest", _NEWEST, _AVAILABLE),
    ("flawed", ["state", "policy_id", "vm_id", "seq"], f"{_AVAILABLE} AND (damaged <> '' OR verified_us < 0)"),
    ("unproven", ["repository_id", "vm_id", "seq"], f"{_AVAILABLE} AND damaged = '' AND verified_us <= 0"),
    ("root", ["repository_id", "id", "state"], _ROOT),
    ("root_seq", ["repository_id", "seq"], _ROOT),
)


def upgrade() -> None:
    for name, columns, rule in _POINTS:
        where = sa.text(rule)
        index = f"ix_restore_points_{name}"
        op.create_index(index, "restore_points", columns, sqlite_where=where, postgresql_where=where)
    op.create_index("ix_restore_points_attempt_id", "restore_points", ["attempt_id"])
    op.create_index("ix_packs_attempt_id", "packs", ["attempt_id"])
    op.create_index("ix_runs_of_state", "runs", ["state", "id", "ended_us"])
    policy = sa.text("policy_id <> ''")
    columns = ["policy_id", "state", "id"]
    op.create_index("ix_runs_of_policy", "runs", columns, sqlite_where=policy, postgresql_where=policy)
    op.drop_index("ix_runs_state", "runs")
