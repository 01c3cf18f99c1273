"""How attempts and runs end without success by the machine's own decision: a stable reason, what happened, what to do."""

from seawall.controller.records.runs import AttemptState, Failure, FailureKind
from seawall.controller.runs.retry import AGENT_RESTARTED
from seawall.controller.timings import Timings


def canceled() -> Failure:
    return Failure("CANCELED", "An operator canceled the run.", "", FailureKind.PERMANENT)


def restarted() -> Failure:
    message = "The agent was restarted and its worker is gone."
    return Failure(AGENT_RESTARTED, message, "Nothing: it is tried again.", FailureKind.TRANSIENT)


def rolled_back() -> Failure:
    message = "The controller's database was replaced by an older copy while the attempt ran."
    return Failure("DATABASE_ROLLED_BACK", message, "Nothing: it is tried again.", FailureKind.CONFLICT)


def moved() -> Failure:
    message = "The host was lost and another host reports the VM."
    return Failure("VM_MOVED", message, "Nothing: it is tried there.", FailureKind.CONFLICT)


def too_late(blocked_on: str) -> Failure:
    message = f"The run could not be carried out in time: {blocked_on}."
    next_step = "Remove what it waited for, then start it again."
    return Failure("RUN_TOO_LATE", message, next_step, FailureKind.PERMANENT)


def too_long(timings: Timings) -> Failure:
    message = f"The run was not done after {timings.max_run_seconds / 3600:g} h."
    next_step = "Look at the rate and the bottleneck of its attempts."
    return Failure("RUN_TOO_LONG", message, next_step, FailureKind.PERMANENT)


def not_taken() -> Failure:
    message = "Hooks were called before it, but its host did not begin in time."
    return Failure("NOT_TAKEN", message, "See the agent's log.", FailureKind.TRANSIENT)


def host_lost(timings: Timings) -> Failure:
    message = f"The host was out of contact for more than {timings.reattach_grace_seconds:g} s after its lease ended."
    return Failure("HOST_LOST", message, "Check the host and its agent.", FailureKind.TRANSIENT)


def stuck(state: AttemptState) -> Failure:
    if state is AttemptState.PREPARING:
        message = "The attempt did not begin to transfer in time."
        return Failure("PREPARE_TIMEOUT", message, "See the agent's log.", FailureKind.TRANSIENT)
    message = "No byte moved for too long."
    return Failure("NO_PROGRESS", message, "Check the store and the VM's disks.", FailureKind.TRANSIENT)


def not_stopped(timings: Timings) -> Failure:
    message = (
        f"The host did not confirm within {timings.cancel_seconds:g} s that it stopped; it is told to at its next call."
    )
    return Failure("CANCEL_TIMEOUT", message, "See the agent's log.", FailureKind.PERMANENT)


def not_published(blocked_on: str) -> Failure:
    message = f"The store did not take the point in time; last, it waited for {blocked_on or 'the store'}."
    next_step = (
        "Mend the repository, then back the VM up again. If only the store's last answer was lost, the bucket holds this point all the "
        "same: it is taken back at the next start, or before the next collection."
    )
    return Failure("PUBLISH_TIMEOUT", message, next_step, FailureKind.PERMANENT)


def forgotten() -> Failure:
    message = (
        "The controller's database was put back to a time when this run was not over. It had made its point since, and that was deleted: "
        "its tombstone lies in the repository, and no other point may have its name."
    )
    return Failure(
        "POINT_WAS_DELETED", message, "Back the VM up again: that makes another point.", FailureKind.PERMANENT
    )
