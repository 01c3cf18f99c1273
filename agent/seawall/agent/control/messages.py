"""What travels between controller and agent, as the agent's own types. Generated types stop in convert.py."""

from dataclasses import dataclass, field

from seawall.agent.errors import FailureKind

BACKUP = "backup"
RESTORE = "restore"

PREPARING = "PREPARING"
TRANSFERRING = "TRANSFERRING"


@dataclass(frozen=True, slots=True)
class AttemptRef:
    """One execution of a run."""

    attempt_id: str
    attempt_no: int
    db_epoch: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """One member of the desired set. `kind`: "backup", "restore", or "" for one that this agent does not know."""

    ref: AttemptRef
    kind: str
    run_id: str
    vm_id: str
    vm_name: str
    cancel: bool


@dataclass(frozen=True, slots=True)
class Session:
    """A Hello that was answered."""

    session_id: str
    heartbeat_seconds: float
    lease_seconds: float
    poll_wait_seconds: float
    abandon: tuple[str, ...]
    server_time_us: int


@dataclass(frozen=True, slots=True)
class DiskProgress:
    """Progress of one disk; the proto of the same name gives the units."""

    disk: str
    size_bytes: int = 0
    planned_bytes: int = 0
    read_bytes: int = 0
    new_bytes: int = 0
    stored_bytes: int = 0
    how: str = ""
    why: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of one attempt. `state`: PREPARING or TRANSFERRING."""

    attempt_id: str
    seq: int = 0
    state: str = PREPARING
    phase: str = ""
    disks: tuple[DiskProgress, ...] = ()
    waiting_on: str = ""
    bottleneck: str = ""
    rate_bytes_per_second: int = 0
    eta_seconds: int = 0
    notes: tuple[str, ...] = ()  # how it went, as sentences
    held_back_ms: int = 0
    frozen_ms: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt ended without success."""

    reason: str
    message: str
    next_step: str
    kind: FailureKind


@dataclass(frozen=True, slots=True)
class PointGrant:
    """Permission to read one committed point."""

    point_id: str
    url: str = field(repr=False)
    data_key: bytes = field(repr=False)
    m_hash: bytes


@dataclass(frozen=True, slots=True)
class BackupGrant:
    """What a writer needs. The keys live in the worker's memory only and never print."""

    run_id: str
    vm_id: str
    tenant: str
    repository_id: str
    lineage_id: bytes
    key_epoch: int
    k_dedup: bytes = field(repr=False)
    cut_key: bytes = field(repr=False)
    repository_public_key: bytes
    chunk_nominal_bytes: int
    compression_level: int
    pack_target_bytes: int
    freeze: str  # "never", "try", "require"
    parent: PointGrant | None
    exclude_disks: tuple[str, ...]
    no_parent: str = ""  # why there is no parent, for the operator
    bad: frozenset[tuple[bytes, int]] = frozenset()  # (pack id, slot) of the parent that must not be named again
    latency_ceiling_ms: int = 0  # 0: from the guest's idle latency
    bytes_per_second: int = 0  # of reading; 0: no limit. The next too
    iops: int = 0
    scratch_quota_bytes: int = 0  # 0: from the size of the disks
    freeze_limit_ms: int = 0  # 0: the agent's own
    scratch_ends: int = 0  # attempts of this run that ended because scratch was full
    group_id: str = ""  # of VMs that are captured at one instant
    group: tuple[str, ...] = ()  # their ids, this VM's among them
    packs_without_md5: bool = False  # the store takes them, and nothing between alters them unseen


@dataclass(frozen=True, slots=True)
class RestoreSpec:
    """How to restore."""

    point_id: str
    vm_name: str
    new_identity: bool
    start: bool
    directory: str
    disks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RestoreGrant:
    """What a restorer needs."""

    tenant: str
    vm_id: str
    lineage_id: bytes
    k_dedup: bytes = field(repr=False)
    signing_public_key: bytes
    point: PointGrant
    spec: RestoreSpec


@dataclass(frozen=True, slots=True)
class PutTarget:
    """One signed PUT."""

    url: str = field(repr=False)
    headers: dict[str, str]
    expires_us: int


@dataclass(frozen=True, slots=True)
class SealedTargets:
    """Where to PUT a pack. Empty when it is stored already."""

    targets: tuple[PutTarget, ...]


@dataclass(frozen=True, slots=True)
class ReadUrl:
    """One signed GET."""

    pack_id: bytes
    generation: int
    url: str = field(repr=False)
    expires_us: int


@dataclass(frozen=True, slots=True)
class FinishedDisk:
    """A disk of the point (or of the restore) as it was handled."""

    disk: str
    size_bytes: int
    format: str
    read_bytes: int
    new_bytes: int
    stored_bytes: int
    how: str
    why: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Completion:
    """What CompleteAttempt reports. A restore leaves the hashes empty."""

    root_hash: bytes = b""
    refmap_hash: bytes = b""
    instant_us: int = 0
    guest_frozen: bool = False
    disks: tuple[FinishedDisk, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    restored_vm_id: str = ""
    may_leave: bool = False
    """`publishing` is an answer: who reported it does not wait for the point's store."""


@dataclass(frozen=True, slots=True)
class Completed:
    """Its answer. `missing` not empty: nothing was committed; (pack id, slot) to store anew.

    `publishing`: the controller commits it by itself, once its store answers.
    """

    point_id: str
    missing: tuple[tuple[bytes, int], ...]
    publishing: bool = False
