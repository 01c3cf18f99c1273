"""Runs (what was asked for) and attempts (one execution each), with what they report. All times are microseconds since 1970 UTC."""

from dataclasses import dataclass
from enum import StrEnum


class RunKind(StrEnum):
    BACKUP = "BACKUP"
    RESTORE = "RESTORE"


class RunState(StrEnum):
    READY = "READY"
    ACTIVE = "ACTIVE"
    SUCCEEDED = "SUCCEEDED"
    SUCCEEDED_WITH_WARNINGS = "SUCCEEDED_WITH_WARNINGS"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    MISSED = "MISSED"
    """A policy's backup that was due while nothing could begin it, and came too late."""
    SKIPPED = "SKIPPED"
    """A policy's backup that was due while its last one still ran."""

    @property
    def over(self) -> bool:
        return self not in OPEN_RUN_STATES


OPEN_RUN_STATES = (RunState.READY, RunState.ACTIVE)


class AttemptState(StrEnum):
    ASSIGNED = "ASSIGNED"
    PREPARING = "PREPARING"
    TRANSFERRING = "TRANSFERRING"
    PUBLISHING = "PUBLISHING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    LOST = "LOST"
    ABANDONED = "ABANDONED"
    EXPIRED = "EXPIRED"

    @property
    def live(self) -> bool:
        """May still end well; holds its slot on the host."""
        return self in LIVE_ATTEMPT_STATES


LIVE_ATTEMPT_STATES = (
    AttemptState.ASSIGNED,
    AttemptState.PREPARING,
    AttemptState.TRANSFERRING,
    AttemptState.PUBLISHING,
    AttemptState.LOST,
)


class FailureKind(StrEnum):
    TRANSIENT = "TRANSIENT"
    CONFLICT = "CONFLICT"
    PERMANENT = "PERMANENT"


class ReadMethod(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    BITMAP = "BITMAP"
    COMPARE = "COMPARE"
    FULL = "FULL"


class FreezePolicy(StrEnum):
    NEVER = "NEVER"
    TRY = "TRY"
    REQUIRE = "REQUIRE"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something failed: a stable reason, what happened, and what the operator can do now."""

    reason: str
    message: str
    next_step: str
    kind: FailureKind


@dataclass(frozen=True, slots=True)
class RunWarning:
    reason: str
    message: str


WINDOW_ENDED = "WINDOW_ENDED"
"""Reason of the warning of a run that its policy's window ended while it ran, and of the failure of one that no window lets begin."""


@dataclass(frozen=True, slots=True)
class DiskProgress:
    disk: str
    size_bytes: int
    planned_bytes: int
    read_bytes: int
    new_bytes: int
    stored_bytes: int
    how: ReadMethod
    why: str
    done: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """The last report of an attempt. `state` is the phase that the worker is in."""

    seq: int
    state: AttemptState
    phase: str
    disks: tuple[DiskProgress, ...]
    waiting_on: str
    bottleneck: str
    rate_bytes_per_second: int
    eta_seconds: int
    notes: tuple[str, ...] = ()
    held_back_ms: int = 0
    frozen_ms: int = 0


@dataclass(frozen=True, slots=True)
class BackupSpec:
    """How a run captures its VM: resolved when the run was made (settings.resolve). 0: no limit, or the agent's own choice.

    `chosen` says each choice and whose it was, a sentence each.
    """

    freeze: FreezePolicy
    exclude_disks: tuple[str, ...]
    freeze_limit_ms: int = 0
    latency_ceiling_ms: int = 0
    bytes_per_second: int = 0
    iops: int = 0
    scratch_quota_bytes: int = 0
    chosen: tuple[str, ...] = ()
    group_id: str = ""
    """Of VMs that are captured at one instant; "" for a VM by itself."""
    group: tuple[str, ...] = ()
    """Their ids."""
    compression: int = 0
    """zstd's level."""
    asked: bool = False
    """Of a policy's run: somebody ordered it meanwhile, so the policy's windows hold it back and end it no more."""


@dataclass(frozen=True, slots=True)
class RestoreSpec:
    point_id: str
    host_id: str
    vm_name: str
    new_identity: bool
    start: bool
    directory: str
    disks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked for. `tries` counts attempts that failed by themselves, `requeues` those that did not count.

    `point_id`: a backup's own id (the point it makes); a restore's source. `version` grows with every stored change.
    `policy_id`, `nominal_us`: the policy that began it and when it was due; "" and 0 for what somebody ordered.
    """

    id: str
    kind: RunKind
    vm_id: str
    vm_name: str
    tenant: str
    repository_id: str
    point_id: str
    backup: BackupSpec | None
    restore: RestoreSpec | None
    state: RunState
    created_us: int
    not_before_us: int
    deadline_us: int
    blocked_on: str = ""
    current_attempt: str = ""
    attempt_count: int = 0
    tries: int = 0
    requeues: int = 0
    cancel_us: int = 0
    ended_us: int = 0
    failure: Failure | None = None
    warnings: tuple[RunWarning, ...] = ()
    restored_vm_id: str = ""
    version: int = 1
    policy_id: str = ""
    nominal_us: int = 0


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs a list has; what is empty or 0 asks for nothing. `since_us`: open, or ended since."""

    vm_id: str = ""
    policy_id: str = ""
    states: tuple[RunState, ...] = ()
    since_us: int = 0


EVERY_RUN = RunFilter()


@dataclass(frozen=True, slots=True)
class RunCounts:
    active: int
    ready: int
    failed: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution. `(id, no, db_epoch)` is its fence. `phase_deadline_us` 0: none.

    `lost_from` is the phase to return to; `root_hash` and `refmap_hash` name what was validated, for repeated hand-ins. `handed_over`:
    it is PUBLISHING, its store is away, and its host waits for that no more, or is gone: it holds no place.
    """

    id: str
    run_id: str
    no: int
    host_id: str
    db_epoch: int
    state: AttemptState
    created_us: int
    phase_deadline_us: int
    session_id: str = ""
    lost_from: AttemptState | None = None
    parent_point_id: str = ""
    root_hash: bytes = b""
    refmap_hash: bytes = b""
    handed_over: bool = False
    failure: Failure | None = None
    ended_us: int = 0
    version: int = 1
