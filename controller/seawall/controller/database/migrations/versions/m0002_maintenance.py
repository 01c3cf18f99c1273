"""Collection and verification: pins, jobs, what is condemned and bad in a pack, its generation.

Nothing was condemned or verified before: the old columns are dropped, not carried over. Columns are added and dropped one by one, because
rebuilding a table would drop rows that refer to it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.drop_column("packs", "verified")
    op.drop_column("packs", "condemned")
    for name in ("generation", "reserved_generation", "condemned_us", "verified_us"):
        op.add_column("packs", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    for name in ("condemned", "bad"):
        op.add_column("packs", sa.Column(name, sa.LargeBinary(), nullable=True))
    op.create_index("ix_packs_looked", "packs", ["repository_id", "state", "verified_us"], unique=False)
    # Meta packs were stored as generations 0 and 1 before anybody counted.
    op.execute("UPDATE packs SET reserved_generation = 1 WHERE meta = 1")
    op.add_column("restore_points", sa.Column("tombstone", sa.LargeBinary(), nullable=True))
    op.add_column("restore_points", sa.Column("deleted_us", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("restore_points", sa.Column("damaged", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "void_packs",
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["repositories.id"], name=op.f("fk_void_packs_repository_id")),
        sa.PrimaryKeyConstraint("repository_id", "id", name=op.f("pk_void_packs")),
    )
    op.create_table(
        "pins",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("point_id", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="", nullable=False),
        sa.Column("created_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["repositories.id"], name=op.f("fk_pins_repository_id")),
        sa.ForeignKeyConstraint(["point_id"], ["restore_points.id"], name=op.f("fk_pins_point_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pins")),
        sa.UniqueConstraint("holder", "point_id", name=op.f("uq_pins_holder_point_id")),
    )
    op.create_index(op.f("ix_pins_point_id"), "pins", ["point_id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), server_default="", nullable=False),
        sa.Column("progress", sa.Text(), server_default="", nullable=False),
        sa.Column("result", sa.Text(), server_default="", nullable=False),
        sa.Column("failure", sa.Text(), server_default="", nullable=False),
        sa.Column("tries", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("not_before_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cancel_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("started_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ended_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["repositories.id"], name=op.f("fk_jobs_repository_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_state"), "jobs", ["state"], unique=False)
    op.create_index(
        "uq_jobs_active",
        "jobs",
        ["repository_id", "kind"],
        unique=True,
        sqlite_where=sa.text("state = 'ACTIVE'"),
        postgresql_where=sa.text("state = 'ACTIVE'"),
    )
