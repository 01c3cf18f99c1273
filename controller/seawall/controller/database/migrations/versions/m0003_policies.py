"""Policies and what they protect; tags of VMs; holds."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("runs", sa.Column("policy_id", sa.Text(), server_default="", nullable=False))
    op.add_column("runs", sa.Column("nominal_us", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index(
        "uq_runs_firing",
        "runs",
        ["policy_id", "vm_id", "nominal_us"],
        unique=True,
        sqlite_where=sa.text("policy_id <> ''"),
        postgresql_where=sa.text("policy_id <> ''"),
    )
    op.add_column("restore_points", sa.Column("policy_id", sa.Text(), server_default="", nullable=False))
    op.create_index("ix_restore_points_policy", "restore_points", ["policy_id", "published_us"], unique=False)
    op.add_column("vms", sa.Column("tags", sa.Text(), server_default="[]", nullable=False))
    op.create_table(
        "policies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("changed_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fired_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("deleted_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["repositories.id"], name=op.f("fk_policies_repository_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies")),
        sa.UniqueConstraint("name", name=op.f("uq_policies_name")),
    )
    op.create_table(
        "policy_revisions",
        sa.Column("policy_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("spec", sa.Text(), server_default="", nullable=False),
        sa.Column("applied_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.id"], name=op.f("fk_policy_revisions_policy_id")),
        sa.PrimaryKeyConstraint("policy_id", "revision", name=op.f("pk_policy_revisions")),
    )
    op.create_table(
        "due_firings",
        sa.Column("policy_id", sa.Text(), nullable=False),
        sa.Column("vm_id", sa.Text(), nullable=False),
        sa.Column("nominal_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.id"], name=op.f("fk_due_firings_policy_id")),
        sa.PrimaryKeyConstraint("policy_id", "vm_id", name=op.f("pk_due_firings")),
    )
    op.create_table(
        "holds",
        sa.Column("point_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("until_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["point_id"], ["restore_points.id"], name=op.f("fk_holds_point_id")),
        sa.PrimaryKeyConstraint("point_id", name=op.f("pk_holds")),
    )
