"""What a policy calls around its runs, each call as it is stored, and what is wrong with VMs. Times are microseconds since 1970 UTC."""

from dataclasses import dataclass
from enum import StrEnum

from seawall.controller.records.runs import RunState


class OnFailure(StrEnum):
    """What becomes of a run when a hook before it fails."""

    FAIL = "FAIL"
    SKIP = "SKIP"
    """It is over as SKIPPED, which is no trouble: the hook may say "not now"."""
    CONTINUE = "CONTINUE"


class Event(StrEnum):
    """What a policy tells about a VM."""

    FAILED = "FAILED"
    """A run failed, or its policy's window ended it, and none succeeded since."""
    MISSED = "MISSED"
    """A run came too late to begin, and none succeeded since."""
    RPO = "RPO"
    """Its newest point of the policy is older than the policy's RPO."""
    DAMAGED = "DAMAGED"
    """A point of the policy was not whole when it was last read back."""
    RECOVERED = "RECOVERED"
    """None of these any more."""


@dataclass(frozen=True, slots=True)
class HookOrder:
    """Hooks, by the names that the controller's machine gives them, called one after the other. `timeout_seconds`: of each."""

    names: tuple[str, ...] = ()
    timeout_seconds: int = 60


@dataclass(frozen=True, slots=True)
class PolicyHooks:
    """`before` and `after` each run; `notify` when one of `events` happens to a VM."""

    before: HookOrder = HookOrder()
    on_failure: OnFailure = OnFailure.FAIL
    after: HookOrder = HookOrder()
    notify: HookOrder = HookOrder()
    events: tuple[Event, ...] = tuple(Event)

    @property
    def names(self) -> frozenset[str]:
        """Of all hooks that it names."""
        return frozenset((*self.before.names, *self.after.names, *self.notify.names))


class Stage(StrEnum):
    BEFORE = "BEFORE"
    AFTER = "AFTER"
    NOTIFY = "NOTIFY"


class CallState(StrEnum):
    WAITING = "WAITING"
    DONE = "DONE"
    FAILED = "FAILED"
    DROPPED = "DROPPED"
    """There was no reason for it any more: its attempt ended without having begun, or another one followed."""


@dataclass(frozen=True, slots=True)
class HookCall:
    """One call of one hook, around one attempt; it is made at least once, always under this id. `run_id` "": of a notice, whose `body` is
    JSON.

    `tries` counts the calls that began, `failures` those that are known to have failed: one whose leader went away is none. `outcome`: how
    the last one ended, as a sentence.
    """

    id: str
    policy_id: str
    run_id: str
    stage: Stage
    hook: str
    timeout_seconds: int
    attempt_id: str = ""
    position: int = 0
    """Among those of its attempt."""
    on_failure: OnFailure = OnFailure.CONTINUE
    state: CallState = CallState.WAITING
    tries: int = 0
    failures: int = 0
    not_before_us: int = 0
    created_us: int = 0
    begun_us: int = 0
    ended_us: int = 0
    outcome: str = ""
    body: str = ""


@dataclass(frozen=True, slots=True)
class EndedRun:
    """What of a run that is over says something about its VM. `message`: of its failure, or that its window ended it.

    `cut_off`: its policy's window asked it to stop, not an operator.
    """

    id: str
    policy_id: str
    vm_id: str
    state: RunState
    ended_us: int
    message: str = ""
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Of a VM under a policy: there is one of each event at most. `run_id` "": of no run."""

    policy_id: str
    vm_id: str
    event: Event
    since_us: int
    run_id: str = ""
    message: str = ""
