"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "idempotency",
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), server_default="", nullable=False),
        sa.Column("answer", sa.Text(), server_default="", nullable=False),
        sa.Column("expires_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("principal", "request_id", name=op.f("pk_idempotency")),
    )
    op.create_table(
        "join_tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expires_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("max_uses", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("uses", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_join_tokens")),
    )
    op.create_table(
        "leader",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), server_default="", nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expires_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leader")),
    )
    op.create_table(
        "meta",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("db_epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pg_timeline", sa.Text(), server_default="", nullable=False),
        sa.Column("mode", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meta")),
    )
    op.create_table(
        "repositories",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), server_default="", nullable=False),
        sa.Column("lineage_hex", sa.Text(), server_default="", nullable=False),
        sa.Column("signing_public_key_hex", sa.Text(), server_default="", nullable=False),
        sa.Column("chunk_nominal_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("wrappers", sa.Text(), server_default="[]", nullable=False),
        sa.Column("capabilities", sa.Text(), server_default="{}", nullable=False),
        sa.Column("secret_id", sa.Text(), server_default="", nullable=False),
        sa.Column("created_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repositories")),
        sa.UniqueConstraint("name", name=op.f("uq_repositories_name")),
    )
    op.create_table(
        "secrets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("kek_id", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_secrets")),
    )
    op.create_table(
        "agents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("first_key_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("public_key_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("certificate_pem", sa.LargeBinary(), nullable=False),
        sa.Column("certificate_expires_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("enrolled_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("status", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["token_id"], ["join_tokens.id"], name=op.f("fk_agents_token_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
        sa.UniqueConstraint("token_id", "first_key_sha256", name=op.f("uq_agents_token_id_first_key_sha256")),
    )
    op.create_table(
        "creations",
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_creations")),
    )
    op.create_table(
        "gc",
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["repositories.id"], name=op.f("fk_gc_repository_id")),
        sa.PrimaryKeyConstraint("repository_id", name=op.f("pk_gc")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="", nullable=False),
        sa.Column("vm_id", sa.Text(), nullable=False),
        sa.Column("vm_name", sa.Text(), server_default="", nullable=False),
        sa.Column("tenant", sa.Text(), server_default="default", nullable=False),
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("point_id", sa.Text(), server_default="", nullable=False),
        sa.Column("backup", sa.Text(), nullable=True),
        sa.Column("restore", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("not_before_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("deadline_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("blocked_on", sa.Text(), server_default="", nullable=False),
        sa.Column("current_attempt", sa.Text(), server_default="", nullable=False),
        sa.Column("attempt_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("tries", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("requeues", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cancel_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ended_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("warnings", sa.Text(), server_default="[]", nullable=False),
        sa.Column("restored_vm_id", sa.Text(), server_default="", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["repositories.id"], name=op.f("fk_runs_repository_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_state"), "runs", ["state"], unique=False)
    op.create_index(op.f("ix_runs_vm_id"), "runs", ["vm_id"], unique=False)
    op.create_index(
        "uq_runs_open_backup",
        "runs",
        ["vm_id", "repository_id"],
        unique=True,
        sqlite_where=sa.text("kind = 'BACKUP' AND state IN ('READY', 'ACTIVE')"),
        postgresql_where=sa.text("kind = 'BACKUP' AND state IN ('READY', 'ACTIVE')"),
    )
    op.create_table(
        "hosts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("site", sa.Text(), server_default="", nullable=False),
        sa.Column("agent_version", sa.Text(), server_default="", nullable=False),
        sa.Column("hypervisor_version", sa.Text(), server_default="", nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("drain", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["id"], ["agents.id"], name=op.f("fk_hosts_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hosts")),
    )
    op.create_table(
        "sessions",
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), server_default="", nullable=False),
        sa.Column("boot_id", sa.Text(), server_default="", nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_seen_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_sessions_agent_id")),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("pk_sessions")),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("no", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("host_id", sa.Text(), nullable=False),
        sa.Column("db_epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("phase_deadline_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("session_id", sa.Text(), server_default="", nullable=False),
        sa.Column("lost_from", sa.Text(), nullable=True),
        sa.Column("parent_point_id", sa.Text(), server_default="", nullable=False),
        sa.Column("root_hash", sa.LargeBinary(), nullable=False),
        sa.Column("refmap_hash", sa.LargeBinary(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("ended_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_attempts_host_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_attempts_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("run_id", "no", name=op.f("uq_attempts_run_id_no")),
    )
    op.create_index(op.f("ix_attempts_state"), "attempts", ["state"], unique=False)
    op.create_table(
        "vms",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), server_default="default", nullable=False),
        sa.Column("state", sa.Text(), server_default="", nullable=False),
        sa.Column("disks", sa.Text(), server_default="[]", nullable=False),
        sa.Column("inventory_revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_seen_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("present", sa.SmallInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_vms_host_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vms")),
    )
    op.create_index(op.f("ix_vms_host_id"), "vms", ["host_id"], unique=False)
    op.create_index(op.f("ix_vms_name"), "vms", ["name"], unique=False)
    op.create_table(
        "attempt_progress",
        sa.Column("attempt_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("body", sa.Text(), server_default="", nullable=False),
        sa.Column("updated_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_attempt_progress_attempt_id")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_attempt_progress")),
    )
    op.create_table(
        "packs",
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("tenant", sa.Text(), server_default="default", nullable=False),
        sa.Column("host_id", sa.Text(), nullable=False),
        sa.Column("attempt_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="", nullable=False),
        sa.Column("meta", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("slots", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("verified", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("condemned", sa.Text(), server_default="[]", nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_packs_attempt_id")),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_packs_host_id")),
        sa.ForeignKeyConstraint(["repository_id"], ["repositories.id"], name=op.f("fk_packs_repository_id")),
        sa.PrimaryKeyConstraint("repository_id", "id", name=op.f("pk_packs")),
    )
    op.create_table(
        "restore_points",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("vm_id", sa.Text(), nullable=False),
        sa.Column("vm_name", sa.Text(), server_default="", nullable=False),
        sa.Column("tenant", sa.Text(), server_default="default", nullable=False),
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("attempt_id", sa.Text(), nullable=False),
        sa.Column("host_id", sa.Text(), nullable=False),
        sa.Column("parent_point_id", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("db_epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("instant_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("guest_frozen", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("disks", sa.Text(), server_default="[]", nullable=False),
        sa.Column("virtual_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("warnings", sa.Text(), server_default="[]", nullable=False),
        sa.Column("manifest_hash", sa.LargeBinary(), nullable=False),
        sa.Column("intent_manifest", sa.LargeBinary(), nullable=True),
        sa.Column("intent_refmap", sa.LargeBinary(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("published_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_restore_points_attempt_id")),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_restore_points_host_id")),
        sa.ForeignKeyConstraint(["repository_id"], ["repositories.id"], name=op.f("fk_restore_points_repository_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_restore_points")),
    )
    op.create_index(op.f("ix_restore_points_state"), "restore_points", ["state"], unique=False)
    op.create_index(op.f("ix_restore_points_vm_id"), "restore_points", ["vm_id"], unique=False)
