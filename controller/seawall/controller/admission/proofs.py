"""What an attempt shows of its host and of its store long before its end, and which circuit breakers that closes. Pure."""

from enum import Enum

from seawall.controller.admission.breaker import FAILURES, OF_THE_STORE
from seawall.controller.records.limits import Breaker, Scope
from seawall.controller.records.runs import AttemptState, Progress, RunKind
from seawall.controller.runs.machine import Execution

STORE_IS_AWAY = ("STORE_UNAVAILABLE", "BUCKET_MISSING", "BUCKET_UNREACHABLE")
"""Reasons that a read refutes: a store that is full, or takes nothing, may be read all the same."""
OF_PREPARING = frozenset(
    {
        "PREPARE_TIMEOUT",
        "NOT_TAKEN",
        "HYPERVISOR_ERROR",
        "HYPERVISOR_TIMEOUT",
        "CHECKPOINT_BROKEN",
        "FREEZE_FAILED",
        "SCRATCH_UNUSABLE",
        "OWNER_SILENT",
        "DISK_IN_USE",
    }
)
"""Reasons of backups that never began to transfer."""


class Proof(Enum):
    STORED = "stored"
    """A pack lies in the store, and its table was read back."""
    FETCHED = "fetched"
    """A restore has bytes of the store that it had not before."""
    PREPARED = "prepared"
    """A backup has its snapshot and begins to transfer."""


def proof_of(before: Execution, after: Execution, known: Progress | None, reported: Progress) -> Proof | None:
    """What a report that made `after` of `before` shows. `known`: the last report that was stored."""
    if not after.current or after.attempt.state is not AttemptState.TRANSFERRING:
        return None
    if after.run.kind is RunKind.RESTORE:
        return Proof.FETCHED if _fetched_bytes(reported) > _fetched_bytes(known) else None
    return Proof.PREPARED if AttemptState.PREPARING in (before.attempt.state, before.attempt.lost_from) else None


def refutes(proof: Proof, breaker: Breaker) -> bool:
    """Whether what an attempt of its host or repository shows closes it, as its last failure says what it stands for. Failures that keep
    nobody waiting yet are left to the ends of attempts: else a store that loses every other attempt would never open it."""
    if breaker.failures < FAILURES:
        return False
    match proof:
        case Proof.STORED:
            return breaker.reason.startswith(OF_THE_STORE)
        case Proof.FETCHED:
            return breaker.reason in STORE_IS_AWAY
        case Proof.PREPARED:
            return breaker.scope is Scope.HOST and breaker.reason in OF_PREPARING


def _fetched_bytes(progress: Progress | None) -> int:
    """Of a restore."""
    return sum(disk.stored_bytes for disk in progress.disks) if progress is not None else 0
