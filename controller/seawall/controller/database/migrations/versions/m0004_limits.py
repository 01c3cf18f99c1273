"""Limits, breakers and bandwidth of admission; what the scheduler's mirror of the fleet asks for: VMs and points since its last look."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "limits",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", "measure", name=op.f("pk_limits")),
    )
    op.create_table(
        "breakers",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_breakers")),
    )
    op.create_table(
        "apart",
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("vm_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["vm_id"], ["vms.id"], name=op.f("fk_apart_vm_id")),
        sa.PrimaryKeyConstraint("label", "vm_id", name=op.f("pk_apart")),
    )
    op.create_table(
        "traffic",
        sa.Column("host_id", sa.Text(), nullable=False),
        sa.Column("demand_bytes_per_second", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rate_bytes_per_second", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reported_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("share_bytes_per_second", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("share_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_traffic_host_id")),
        sa.PrimaryKeyConstraint("host_id", name=op.f("pk_traffic")),
    )
    op.add_column("vms", sa.Column("change", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index(op.f("ix_vms_change"), "vms", ["change"], unique=False)
    op.create_index("ix_runs_waiting", "runs", ["state", "not_before_us", "deadline_us", "version", "id"], unique=False)
    op.create_index(op.f("ix_restore_points_published_us"), "restore_points", ["published_us"], unique=False)
