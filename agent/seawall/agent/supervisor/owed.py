"""What the supervisor tells the controller of attempts whose workers could not, or never came to be. Pure."""

from dataclasses import dataclass, replace

from seawall.agent.control.messages import Assignment, AttemptRef, Failure, Progress
from seawall.agent.errors import AgentError, FailureKind
from seawall.agent.supervisor.process import Exit
from seawall.agent.worker.pipe import StopReason

_CANCELED = Failure("CANCELED", "canceled by the operator", "", FailureKind.TRANSIENT)


@dataclass(frozen=True, slots=True)
class Report:
    """A FailAttempt that the supervisor owes the controller."""

    ref: AttemptRef
    failure: Failure
    progress: Progress
    canceled: bool = False


def canceled(assignment: Assignment) -> Report:
    """Before it began."""
    return Report(assignment.ref, _CANCELED, _first(assignment), canceled=True)


def unknown_kind(assignment: Assignment) -> Report:
    failure = Failure(
        "KIND_UNKNOWN",
        f"run {assignment.run_id} is of a kind that this agent does not know",
        "Upgrade the agent on this host.",
        FailureKind.PERMANENT,
    )
    return Report(assignment.ref, failure, _first(assignment))


def not_started(assignment: Assignment, error: OSError | AgentError) -> Report:
    if isinstance(error, AgentError):
        failure = Failure(error.reason, str(error), error.next_step, error.kind)
    else:
        failure = Failure(
            "WORKER_NOT_STARTED",
            f"the worker could not be started: {error}",
            "Check memory and limits of the host.",
            FailureKind.TRANSIENT,
        )
    return Report(assignment.ref, failure, _first(assignment))


def ended_unreported(assignment: Assignment, ended: Exit, reason: StopReason | None, last: Progress) -> Report | None:
    """Of a worker that ended without a word to the controller; None where the controller wants none. `reason`: why it was told to stop."""
    following = replace(last, seq=last.seq + 1)
    if reason is StopReason.FENCED:
        return None
    if reason is StopReason.CANCELED:
        return Report(assignment.ref, _CANCELED, following, canceled=True)
    return Report(assignment.ref, _exited(ended, reason), following)


def _exited(ended: Exit, reason: StopReason | None) -> Failure:
    if reason is StopReason.AGENT:
        return Failure(
            "AGENT_STOPPING",
            "the agent on this host is stopping",
            "Nothing: it is tried again once the agent runs.",
            FailureKind.TRANSIENT,
        )
    return Failure(
        "WORKER_EXITED",
        ended.sentence(),
        "It is tried again; see the attempt's log on the host if it happens twice.",
        FailureKind.TRANSIENT,
    )


def _first(assignment: Assignment) -> Progress:
    """Of an attempt that has reported nothing."""
    return Progress(assignment.ref.attempt_id, seq=1)
