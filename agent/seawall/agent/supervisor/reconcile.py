"""What the supervisor has to do, from what is wanted and what there is. Pure: facts in, instructions out.

Rules, in the order in which they matter:
- An attempt is started once per life of the supervisor; what ended here is not started again by a desired set that has not heard of it yet.
- One worker per VM: a newer attempt waits until the older worker is gone.
- A worker that is not wanted any more is fenced: asked to stop, killed after a short grace. One that has handed in is left alone: a commit
  leaves the desired set before its answer reaches the worker, and a fenced hand-in is answered so.
- A cancel before the start is answered without starting; later it is soft first, killed after its grace.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from seawall.agent.control.messages import BACKUP, RESTORE, Assignment
from seawall.agent.worker.pipe import StopReason


class Phase(Enum):
    """Where a worker process is, as the supervisor sees it."""

    RUNNING = "running"
    STOPPING = "stopping"  # asked to stop
    SETTLING = "settling"  # it handed in, or tidies up after the answer: the answer decides, nothing else


@dataclass(frozen=True, slots=True)
class Local:
    """A worker that lives on this host."""

    attempt_id: str
    vm_id: str
    phase: Phase
    stop_reason: StopReason | None = None


@dataclass(frozen=True, slots=True)
class Start:
    assignment: Assignment


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Ask softly; kill after the grace that belongs to the reason."""

    attempt_id: str
    reason: StopReason


@dataclass(frozen=True, slots=True)
class ReportCanceled:
    """It was canceled before it began: tell the controller, start nothing."""

    assignment: Assignment


@dataclass(frozen=True, slots=True)
class ReportUnknownKind:
    """A kind of work that this agent does not know."""

    assignment: Assignment


Instruction: TypeAlias = Start | StopWorker | ReportCanceled | ReportUnknownKind


def reconcile(desired: Iterable[Assignment], local: Mapping[str, Local], ended: Set[str]) -> tuple[Instruction, ...]:
    """`local` by attempt id; `ended`: attempts that ended in this life of the supervisor, however they did."""
    wanted = {assignment.ref.attempt_id: assignment for assignment in desired}
    stops = _stops(wanted, local)
    busy = {worker.vm_id for worker in local.values()}
    starts: list[Instruction] = []
    for attempt_id, assignment in sorted(wanted.items()):
        if attempt_id in local or attempt_id in ended:
            continue
        if assignment.cancel:
            starts.append(ReportCanceled(assignment))
        elif assignment.kind not in (BACKUP, RESTORE):
            starts.append(ReportUnknownKind(assignment))
        elif assignment.vm_id not in busy or not assignment.vm_id:
            busy.add(assignment.vm_id)
            starts.append(Start(assignment))
    return (*stops, *starts)


def stop_reported(
    unknown: Iterable[str], canceled: Iterable[str], local: Mapping[str, Local]
) -> tuple[StopWorker, ...]:
    """What a heartbeat's answer asks for; unknown outweighs canceled."""
    reasons = dict.fromkeys(canceled, StopReason.CANCELED) | dict.fromkeys(unknown, StopReason.FENCED)
    return tuple(
        StopWorker(attempt_id, reason)
        for attempt_id, reason in sorted(reasons.items())
        if attempt_id in local and _must_stop(local[attempt_id], reason)
    )


def _stops(wanted: Mapping[str, Assignment], local: Mapping[str, Local]) -> tuple[StopWorker, ...]:
    stops = []
    for attempt_id, worker in sorted(local.items()):
        assignment = wanted.get(attempt_id)
        if assignment is not None and not assignment.cancel:
            continue
        reason = StopReason.FENCED if assignment is None else StopReason.CANCELED
        if _must_stop(worker, reason):
            stops.append(StopWorker(attempt_id, reason))
    return tuple(stops)


def _must_stop(worker: Local, reason: StopReason) -> bool:
    """Each stop is asked for once; a fence may follow a cancel, as its grace is shorter."""
    if worker.phase is Phase.RUNNING:
        return True
    return (
        worker.phase is Phase.STOPPING and reason is StopReason.FENCED and worker.stop_reason is not StopReason.FENCED
    )
