"""Capture settings of single VMs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "vm_settings",
        sa.Column("vm_id", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), server_default="", nullable=False),
        sa.Column("ignored", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("updated_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["vm_id"], ["vms.id"], name=op.f("fk_vm_settings_vm_id")),
        sa.PrimaryKeyConstraint("vm_id", name=op.f("pk_vm_settings")),
    )
