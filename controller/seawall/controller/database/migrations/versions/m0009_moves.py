"""VMs that change their hosts: what hosts and operators said of it. Runs by their ends: what watchers are told of for a while."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    # Databases that an early build brought to 0004 have it already.
    op.create_index("ix_runs_ended_us", "runs", ["ended_us"], unique=False, if_not_exists=True)
    op.create_table(
        "vm_moves",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("vm_id", sa.Text(), nullable=False),
        sa.Column("from_host", sa.Text(), server_default="", nullable=False),
        sa.Column("to_host", sa.Text(), server_default="", nullable=False),
        sa.Column("left_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("taken_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rival", sa.Text(), server_default="", nullable=False),
        sa.Column("confirmed_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["vm_id"], ["vms.id"], name=op.f("fk_vm_moves_vm_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vm_moves")),
    )
    op.create_index(op.f("ix_vm_moves_vm_id"), "vm_moves", ["vm_id"])
    op.create_index(op.f("ix_vm_moves_from_host"), "vm_moves", ["from_host"])
    op.create_table(
        "vm_claims",
        sa.Column("vm_id", sa.Text(), nullable=False),
        sa.Column("host_id", sa.Text(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["vm_id"], ["vms.id"], name=op.f("fk_vm_claims_vm_id")),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_vm_claims_host_id")),
        sa.PrimaryKeyConstraint("vm_id", "host_id", name=op.f("pk_vm_claims")),
    )
