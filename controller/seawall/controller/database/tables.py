"""The tables. BIGINT microseconds UTC, TEXT UUIDv7 ids, JSON as TEXT, named constraints: the SQL that SQLite and PostgreSQL share.

Times are 0 where a thing has not happened; NULL stands only for values that do not exist. Migrations make exactly these (a test compares).
"""

import sqlalchemy as sa

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = sa.MetaData(naming_convention=NAMING)


def _id(name: str = "id") -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _text(name: str, default: str = "") -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _number(name: str, default: int = 0) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=str(default))


def _flag(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.SmallInteger, nullable=False, server_default="0")


def _bytes(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=nullable)


def _ref(name: str, target: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, sa.ForeignKey(target), nullable=False)


meta = sa.Table(
    "meta",
    metadata,
    _id(),
    _number("db_epoch"),
    _text("pg_timeline"),
    _text("mode"),
    _text("works_since"),
    _text("cluster_id"),
)

leader = sa.Table(
    "leader",
    metadata,
    _id("name"),
    _text("holder"),
    _number("epoch"),
    _number("expires_us"),
    _text("operator_address"),
    _text("agent_address"),
)

# The controllers on this database.
replicas = sa.Table(
    "replicas",
    metadata,
    _id(),
    _text("version"),
    _text("operator_address"),
    _text("agent_address"),
    _number("seen_us"),
)

# One row a committed write, for an hour: what became of a commit whose answer was lost. `void`: it was not and will not be committed.
write_marks = sa.Table("write_marks", metadata, _id(), _number("written_us"), _flag("void"))

join_tokens = sa.Table(
    "join_tokens",
    metadata,
    _id(),
    _bytes("secret_sha256"),
    _number("created_us"),
    _number("expires_us"),
    _number("max_uses"),
    _number("uses"),
)

agents = sa.Table(
    "agents",
    metadata,
    _id(),
    _ref("token_id", "join_tokens.id"),
    _bytes("first_key_sha256"),
    _bytes("public_key_sha256"),
    _bytes("certificate_pem"),
    _number("certificate_expires_us"),
    _number("enrolled_us"),
    _text("status"),
    sa.UniqueConstraint("token_id", "first_key_sha256"),
)

# The certificate authority: one row, the whole of its state, keys sealed under the KEK.
authority = sa.Table("authority", metadata, _id("name"), _number("version"), _text("body"))

# While it is replaced: what each agent last said that it trusts, and showed. Root ids.
authority_said = sa.Table(
    "authority_said",
    metadata,
    sa.Column("agent_id", sa.Text, sa.ForeignKey("agents.id"), primary_key=True),
    _text("trusts"),
    _text("shows"),
    _number("said_us"),
)

hosts = sa.Table(
    "hosts",
    metadata,
    sa.Column("id", sa.Text, sa.ForeignKey("agents.id"), primary_key=True),
    _text("name"),
    _text("site"),
    _text("agent_version"),
    _text("hypervisor_version"),
    _number("generation", 1),
    _number("drain"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("agent_id", sa.Text, sa.ForeignKey("agents.id"), primary_key=True),
    _text("session_id"),
    _text("boot_id"),
    _number("lease_until_us"),
    _number("last_seen_us"),
)

vms = sa.Table(
    "vms",
    metadata,
    _id(),
    sa.Column("host_id", sa.Text, sa.ForeignKey("hosts.id"), nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False, index=True),
    _text("tenant", "default"),
    _text("state"),
    _text("disks", "[]"),
    _number("inventory_revision"),
    _number("last_seen_us"),
    _flag("present"),
    # Grows over all VMs with whatever the scheduler sees of one: what is newer than its last look.
    sa.Column("change", sa.BigInteger, nullable=False, server_default="0", index=True),
    _text("tags", "[]"),
)

# A VM's way from one host to another, as the hosts and operators tell it. No keys to hosts: "" stands where nobody is known.
vm_moves = sa.Table(
    "vm_moves",
    metadata,
    _id(),
    sa.Column("vm_id", sa.Text, sa.ForeignKey("vms.id"), nullable=False, index=True),
    sa.Column("from_host", sa.Text, nullable=False, server_default="", index=True),
    _text("to_host"),
    _number("left_us"),
    _number("taken_us"),
    _text("rival"),
    _number("confirmed_us"),
)

# Hosts that said in vain that they run a VM.
vm_claims = sa.Table(
    "vm_claims",
    metadata,
    sa.Column("vm_id", sa.Text, sa.ForeignKey("vms.id"), primary_key=True),
    sa.Column("host_id", sa.Text, sa.ForeignKey("hosts.id"), primary_key=True),
    _number("seen_us"),
)

policies = sa.Table(
    "policies",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _number("revision", 1),
    _ref("repository_id", "repositories.id"),
    _number("created_us"),
    _number("changed_us"),
    _number("fired_us"),
    _number("deleted_us"),
)

# Each revision as it was applied, as JSON.
policy_revisions = sa.Table(
    "policy_revisions",
    metadata,
    sa.Column("policy_id", sa.Text, sa.ForeignKey("policies.id"), primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    _text("spec"),
    _number("applied_us"),
)

# Due, but another run backs up the VM into the repository at the moment.
due_firings = sa.Table(
    "due_firings",
    metadata,
    sa.Column("policy_id", sa.Text, sa.ForeignKey("policies.id"), primary_key=True),
    sa.Column("vm_id", sa.Text, primary_key=True),
    _number("nominal_us"),
)

vm_settings = sa.Table(
    "vm_settings",
    metadata,
    sa.Column("vm_id", sa.Text, sa.ForeignKey("vms.id"), primary_key=True),
    _text("body"),
    _flag("ignored"),
    _number("updated_us"),
)

secrets = sa.Table("secrets", metadata, _id(), _bytes("ciphertext"), _text("kek_id"))

repositories = sa.Table(
    "repositories",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _text("url"),
    _text("lineage_hex"),
    _text("signing_public_key_hex"),
    _number("chunk_nominal_bytes"),
    _text("wrappers", "[]"),
    _text("capabilities", "{}"),
    _text("secret_id"),
    _number("created_us"),
)

creations = sa.Table("creations", metadata, _id("url"), _bytes("ciphertext"))

gc = sa.Table(
    "gc",
    metadata,
    sa.Column("repository_id", sa.Text, sa.ForeignKey("repositories.id"), primary_key=True),
    _number("seq"),
    _number("opened_epoch"),
)

# The newest export in each bucket that this database knows of, and what a newer one brought back or keeps waiting.
exported = sa.Table(
    "exported",
    metadata,
    sa.Column("repository_id", sa.Text, sa.ForeignKey("repositories.id"), primary_key=True),
    _number("epoch"),
    _number("number"),
    _number("exported_us"),
    _bytes("document_hash"),
    _text("waits"),
    _number("waits_since_us"),
    _text("put_back"),
    _number("put_back_us"),
)

runs = sa.Table(
    "runs",
    metadata,
    _id(),
    _text("kind"),
    sa.Column("vm_id", sa.Text, nullable=False, index=True),
    _text("vm_name"),
    _text("tenant", "default"),
    _ref("repository_id", "repositories.id"),
    _text("point_id"),
    sa.Column("backup", sa.Text, nullable=True),
    sa.Column("restore", sa.Text, nullable=True),
    sa.Column("state", sa.Text, nullable=False),
    _number("created_us"),
    _number("not_before_us"),
    _number("deadline_us"),
    _text("blocked_on"),
    _text("current_attempt"),
    _number("attempt_count"),
    _number("tries"),
    _number("requeues"),
    _number("cancel_us"),
    _number("ended_us"),
    sa.Column("failure", sa.Text, nullable=True),
    _text("warnings", "[]"),
    _text("restored_vm_id"),
    _number("version", 1),
    _text("policy_id"),
    _number("nominal_us"),
)

# A policy fires once for a VM and a nominal time, whoever leads and however often it looks.
sa.Index(
    "uq_runs_firing",
    runs.c.policy_id,
    runs.c.vm_id,
    runs.c.nominal_us,
    unique=True,
    sqlite_where=sa.text("policy_id <> ''"),
    postgresql_where=sa.text("policy_id <> ''"),
)

# Lists, newest first: of one state, and when they ended; of one policy and state.
sa.Index("ix_runs_of_state", runs.c.state, runs.c.id, runs.c.ended_us)
sa.Index(
    "ix_runs_of_policy",
    runs.c.policy_id,
    runs.c.state,
    runs.c.id,
    sqlite_where=sa.text("policy_id <> ''"),
    postgresql_where=sa.text("policy_id <> ''"),
)

# What the scheduler asks for each few seconds, answered from the index alone.
sa.Index("ix_runs_ended_us", runs.c.ended_us)
sa.Index(
    "ix_runs_ready",
    runs.c.state,
    runs.c.not_before_us,
    runs.c.deadline_us,
    runs.c.version,
    runs.c.id,
    sqlite_where=sa.text("state = 'READY'"),
    postgresql_where=sa.text("state = 'READY'"),
)

sa.Index(
    "ix_runs_active_backup",
    runs.c.vm_id,
    runs.c.repository_id,
    sqlite_where=sa.text("kind = 'BACKUP' AND state = 'ACTIVE'"),
    postgresql_where=sa.text("kind = 'BACKUP' AND state = 'ACTIVE'"),
)

# Each policy, and whoever orders by hand, has one open at most, whatever asks for it twice at once.
sa.Index(
    "uq_runs_open_backup_of",
    runs.c.vm_id,
    runs.c.repository_id,
    runs.c.policy_id,
    unique=True,
    sqlite_where=sa.text("kind = 'BACKUP' AND state IN ('READY', 'ACTIVE')"),
    postgresql_where=sa.text("kind = 'BACKUP' AND state IN ('READY', 'ACTIVE')"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    _id(),
    _ref("run_id", "runs.id"),
    _number("no"),
    _ref("host_id", "hosts.id"),
    _number("db_epoch"),
    sa.Column("state", sa.Text, nullable=False, index=True),
    _number("created_us"),
    _number("phase_deadline_us"),
    _text("session_id"),
    sa.Column("lost_from", sa.Text, nullable=True),
    _text("parent_point_id"),
    _bytes("root_hash"),
    _bytes("refmap_hash"),
    _flag("handed_over"),
    sa.Column("failure", sa.Text, nullable=True),
    _number("ended_us"),
    _number("version", 1),
    sa.UniqueConstraint("run_id", "no"),
)

# Narrow and hot: one row an attempt, no index on what changes.
attempt_progress = sa.Table(
    "attempt_progress",
    metadata,
    sa.Column("attempt_id", sa.Text, sa.ForeignKey("attempts.id"), primary_key=True),
    _number("seq"),
    _text("body"),
    _number("updated_us"),
)

restore_points = sa.Table(
    "restore_points",
    metadata,
    _id(),
    sa.Column("vm_id", sa.Text, nullable=False, index=True),
    _text("vm_name"),
    _text("tenant", "default"),
    _ref("repository_id", "repositories.id"),
    # Looked for by the database itself, whenever an attempt goes.
    sa.Column("attempt_id", sa.Text, sa.ForeignKey("attempts.id"), nullable=False, index=True),
    _ref("host_id", "hosts.id"),
    _text("parent_point_id"),
    sa.Column("state", sa.Text, nullable=False, index=True),
    _number("seq"),
    _number("db_epoch"),
    _number("instant_us"),
    _flag("guest_frozen"),
    _text("disks", "[]"),
    _number("virtual_bytes"),
    _text("members", "[]"),
    _text("warnings", "[]"),
    _bytes("manifest_hash"),
    _bytes("intent_manifest", nullable=True),
    _bytes("intent_refmap", nullable=True),
    _number("created_us"),
    sa.Column("published_us", sa.BigInteger, nullable=False, server_default="0", index=True),
    _bytes("tombstone", nullable=True),
    _number("deleted_us"),
    _text("damaged"),
    _number("verified_us"),
    _number("read_us"),
    _number("checked_us"),
    _number("tried_us"),
    _text("policy_id"),
    sa.Index("ix_restore_points_policy", "policy_id", "published_us"),
    sa.Index("ix_restore_points_read", "policy_id", "state", "read_us"),
    sa.Index("ix_restore_points_deleted", "deleted_us"),
)


def _of_points(name: str, *columns: str, where: str) -> None:
    """An index of some points. A query is answered by it whose condition says the same, in SQL and not by parameters; by it alone, where
    all that it names is in the index, the state too (sqlite 3.40)."""
    rule = sa.text(where)
    named = [restore_points.c[column] for column in columns]
    sa.Index(f"ix_restore_points_{name}", *named, sqlite_where=rule, postgresql_where=rule)


# Of all points that ever were most are DELETED: what is asked of the others is asked of these.
_AVAILABLE = "state = 'AVAILABLE'"
_ROOT = "state IN ('PUBLISHING', 'AVAILABLE', 'DELETING')"
_NEWEST = ("state", "policy_id", "vm_id", "repository_id", "instant_us", "published_us", "virtual_bytes", "verified_us")
_of_points("newest", *_NEWEST, where=_AVAILABLE)
_of_points("flawed", "state", "policy_id", "vm_id", "seq", where=f"{_AVAILABLE} AND (damaged <> '' OR verified_us < 0)")
_of_points("unproven", "repository_id", "vm_id", "seq", where=f"{_AVAILABLE} AND damaged = '' AND verified_us <= 0")
_of_points("root", "repository_id", "id", "state", where=_ROOT)
_of_points("root_seq", "repository_id", "seq", where=_ROOT)

packs = sa.Table(
    "packs",
    metadata,
    sa.Column("repository_id", sa.Text, sa.ForeignKey("repositories.id"), primary_key=True),
    sa.Column("id", sa.LargeBinary, primary_key=True),
    _text("tenant", "default"),
    _ref("host_id", "hosts.id"),
    # Looked for by the database itself, whenever an attempt goes.
    sa.Column("attempt_id", sa.Text, sa.ForeignKey("attempts.id"), nullable=False, index=True),
    _text("state"),
    _flag("meta"),
    _number("size_bytes"),
    _number("slots"),
    _number("generation"),
    _number("reserved_generation"),
    # BLAKE3-16 of that generation's bytes; it counts where the generation is that one. NULL: nobody knows.
    _number("hashed_generation"),
    _bytes("generation_hash", nullable=True),
    # Slot sets as repository.format.slot_set writes them; NULL: none.
    _bytes("condemned", nullable=True),
    _number("condemned_us"),
    _bytes("bad", nullable=True),
    _number("verified_us"),
    # What was never read whole, what is flawed, what was read longest ago: asked all the time, of millions of rows. And how much it is.
    sa.Index("ix_packs_looked", "repository_id", "state", "verified_us"),
)

# Ids of packs that no row knows and that were found in the bucket: given up for ever.
void_packs = sa.Table(
    "void_packs",
    metadata,
    sa.Column("repository_id", sa.Text, sa.ForeignKey("repositories.id"), primary_key=True),
    sa.Column("id", sa.LargeBinary, primary_key=True),
)

# A pin counts while its holder, a run or a job, is open.
pins = sa.Table(
    "pins",
    metadata,
    _id(),
    _ref("repository_id", "repositories.id"),
    sa.Column("point_id", sa.Text, sa.ForeignKey("restore_points.id"), nullable=False, index=True),
    sa.Column("holder", sa.Text, nullable=False),
    _text("kind"),
    _number("created_us"),
    sa.UniqueConstraint("holder", "point_id"),
)

# A point that an operator keeps.
holds = sa.Table(
    "holds",
    metadata,
    sa.Column("point_id", sa.Text, sa.ForeignKey("restore_points.id"), primary_key=True),
    _text("reason"),
    _number("created_us"),
    _number("until_us"),
)

# What policies call around their runs, and what they tell of VMs.
hook_calls = sa.Table(
    "hook_calls",
    metadata,
    _id(),
    _text("policy_id"),
    sa.Column("run_id", sa.Text, nullable=False, index=True),
    sa.Column("attempt_id", sa.Text, nullable=False, server_default="", index=True),
    _text("stage"),
    _text("hook"),
    _number("timeout_seconds"),
    _number("position"),
    _text("on_failure"),
    sa.Column("state", sa.Text, nullable=False),
    _number("tries"),
    _number("failures"),
    _number("not_before_us"),
    _number("created_us"),
    _number("begun_us"),
    _number("ended_us"),
    _text("outcome"),
    _text("body"),
)
sa.Index("ix_hook_calls_state", hook_calls.c.state, hook_calls.c.ended_us)
sa.Index("ix_hook_calls_stage", hook_calls.c.state, hook_calls.c.stage)

vm_troubles = sa.Table(
    "vm_troubles",
    metadata,
    sa.Column("policy_id", sa.Text, sa.ForeignKey("policies.id"), primary_key=True),
    sa.Column("vm_id", sa.Text, primary_key=True),
    sa.Column("event", sa.Text, primary_key=True),
    _number("since_us"),
    _text("run_id"),
    _text("message"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    _id(),
    _ref("repository_id", "repositories.id"),
    _text("kind"),
    sa.Column("state", sa.Text, nullable=False, index=True),
    _text("request"),
    _text("because"),
    _text("progress"),
    _text("result"),
    _text("failure"),
    _number("tries"),
    _number("created_us"),
    _number("not_before_us"),
    _number("cancel_us"),
    _number("started_us"),
    _number("ended_us"),
    _number("version", 1),
    sa.Index("ix_jobs_because", "repository_id", "because", "id"),
)

# One worker a repository and kind.
sa.Index(
    "uq_jobs_active",
    jobs.c.repository_id,
    jobs.c.kind,
    unique=True,
    sqlite_where=sa.text("state = 'ACTIVE'"),
    postgresql_where=sa.text("state = 'ACTIVE'"),
)

# What operators set; key "": each thing of the scope.
limits = sa.Table(
    "limits",
    metadata,
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("measure", sa.Text, primary_key=True),
    _number("value"),
)

# Failures in a row of hosts and repositories; no row: none.
breakers = sa.Table(
    "breakers",
    metadata,
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    _number("failures"),
    _number("last_us"),
    _text("reason"),
    _text("message"),
)

apart = sa.Table(
    "apart",
    metadata,
    sa.Column("label", sa.Text, primary_key=True),
    sa.Column("vm_id", sa.Text, sa.ForeignKey("vms.id"), primary_key=True),
)

# Narrow and hot, and only written while a bandwidth limit is set.
traffic = sa.Table(
    "traffic",
    metadata,
    sa.Column("host_id", sa.Text, sa.ForeignKey("hosts.id"), primary_key=True),
    _number("demand_bytes_per_second"),
    _number("rate_bytes_per_second"),
    _number("reported_us"),
    _number("share_bytes_per_second"),
    _number("share_us"),
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("principal", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, primary_key=True),
    _text("method"),
    _text("answer"),
    _number("expires_us"),
    _text("request_hash"),
)

# Who operates. A removed one keeps its row, without a token's hash.
users = sa.Table(
    "users",
    metadata,
    _id("name"),
    _text("role"),
    _text("token_sha256"),
    _number("created_us"),
    _number("token_created_us"),
    _number("changed_us"),
    _number("removed_us"),
)
