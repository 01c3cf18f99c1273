"""What SQLite's planner is told of the tables: how many rows there are, and how many share a value of an index.

Without numbers it takes any value of any index for ten rows: the state that 400,000 points share looks as good as the id of a VM that has
twenty, and the parent of a VM's next backup was looked for among all points of the fleet. ANALYZE would count, but what it counts in the
first week of an installation is wrong in its second year, and a plan that changes by itself is a fault at night. So the numbers are fixed:
those of the fleet for which this is built (1,000 hosts, 20,000 VMs, a year of firings). A small database is fast by any plan.

Source: sqlite.org, "The SQLite Query Optimizer Overview", manual control of query plans using SQLITE_STAT tables; the form of a row ("rows,
then rows for each value of the first column, of the first two, ...") from "Database File Format", the sqlite_stat1 table.
"""

from collections.abc import Mapping

import sqlalchemy as sa

STATISTICS: Mapping[str, Mapping[str, str]] = {
    "vms": {
        "ix_vms_host_id": "20000 20",
        "ix_vms_name": "20000 2",
        "ix_vms_change": "20000 1",
    },
    "runs": {
        "ix_runs_vm_id": "1000000 50",
        "ix_runs_of_state": "1000000 5000 1 1",
        "ix_runs_of_policy": "1000000 50000 1000 1",
        "ix_runs_ready": "5000 5000 1000 1000 2 1",
        "ix_runs_ended_us": "1000000 2",
        "ix_runs_active_backup": "1000 1 1",
        "uq_runs_open_backup_of": "20000 1 1 1",
        "uq_runs_firing": "1000000 50000 50 1",
    },
    "attempts": {
        "ix_attempts_state": "1000000 5000",
    },
    "restore_points": {
        "ix_restore_points_vm_id": "400000 20",
        "ix_restore_points_state": "400000 20000",
        "ix_restore_points_published_us": "400000 1",
        "ix_restore_points_policy": "400000 20000 1",
        "ix_restore_points_read": "400000 20000 15000 1",
        "ix_restore_points_deleted": "400000 2",
        "ix_restore_points_attempt_id": "400000 1",
        "ix_restore_points_newest": "400000 20000 20000 20 20 1 1 1 1",
        "ix_restore_points_flawed": "100 100 10 2 1",
        "ix_restore_points_unproven": "1000 500 2 1",
        "ix_restore_points_root": "400000 200000 1 1",
        "ix_restore_points_root_seq": "400000 200000 1",
    },
    "packs": {
        "ix_packs_looked": "10000000 5000000 1000000 2",
        "ix_packs_attempt_id": "10000000 10",
    },
    "hook_calls": {
        "ix_hook_calls_run_id": "100000 2",
        "ix_hook_calls_attempt_id": "100000 2",
        "ix_hook_calls_state": "100000 1000 2",
        "ix_hook_calls_stage": "100000 1000 500",
    },
    "jobs": {
        "ix_jobs_state": "10000 100",
        "ix_jobs_because": "10000 5000 100 1",
        "uq_jobs_active": "10 1 1",
    },
}
"""Table -> index -> its row."""

_ROWS = [
    {"tbl": table, "idx": index, "stat": stat}
    for table, indexes in STATISTICS.items()
    for index, stat in indexes.items()
]
_TABLE = sa.table("sqlite_stat1", sa.column("tbl"), sa.column("idx"), sa.column("stat"))


def give_statistics(connection: sa.Connection) -> None:
    """In the connection's transaction, which writes. Connections that are opened later know them too."""
    # Makes the table where there is none yet; counts nothing.
    connection.exec_driver_sql("ANALYZE sqlite_schema")
    found = {tuple(row) for row in connection.execute(sa.select(_TABLE))}
    if found == {tuple(row.values()) for row in _ROWS}:
        return
    connection.execute(sa.delete(_TABLE))
    connection.execute(sa.insert(_TABLE), _ROWS)
    connection.exec_driver_sql("ANALYZE sqlite_schema")
