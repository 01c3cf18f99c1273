"""What may happen to a run and its attempt: the machine's input. Values alone; who saw it, and when, is for the shell to know."""

from dataclasses import dataclass
from typing import TypeAlias

from seawall.controller.records.runs import AttemptState, Failure, RunWarning
from seawall.controller.timings import Timings


@dataclass(frozen=True, slots=True)
class Moment:
    """When it happened, in steady microseconds, under which timings; `jitter` is uniform in [0, 1) and spreads what is tried again."""

    now_us: int
    timings: Timings
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """The agent takes the attempt. `parent_point_id`: what its grant names."""

    session_id: str
    parent_point_id: str = ""


@dataclass(frozen=True, slots=True)
class Reported:
    """A heartbeat names the attempt. `phase` is what its worker says; `moved`: it got further since the last report."""

    phase: AttemptState
    moved: bool
    db_epoch: int


@dataclass(frozen=True, slots=True)
class Greeted:
    """The agent opened a new session; `runs`: its worker for this attempt still does."""

    session_id: str
    runs: bool


@dataclass(frozen=True, slots=True)
class AgentFailed:
    """The agent says that the attempt ended without success. `canceled`: because it was asked to stop."""

    failure: Failure
    canceled: bool = False


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """An operator, or the end of a window, wants the run to stop. `told`: why, where it was not an operator."""

    told: RunWarning | None = None


@dataclass(frozen=True, slots=True)
class Validated:
    """What a backup handed in is good: from here the controller finishes it, whatever becomes of the host."""

    root_hash: bytes
    refmap_hash: bytes


@dataclass(frozen=True, slots=True)
class RestoreHandedIn:
    """The restore is complete; a VM it defined has this id."""

    warnings: tuple[RunWarning, ...]
    vm_id: str


@dataclass(frozen=True, slots=True)
class Committed:
    """The point's manifest lies in the bucket."""

    warnings: tuple[RunWarning, ...]


@dataclass(frozen=True, slots=True)
class Unpublishable:
    """The run can never have its point: something else lies where one of its objects belongs, what it names is gone, or a tombstone bears
    its name.
    """

    failure: Failure


@dataclass(frozen=True, slots=True)
class HeldUp:
    """The store did not take the point. `for_good`: it will not by itself; `waits` says what is waited for."""

    failure: Failure
    for_good: bool
    waits: str


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The store is away, and the host of a validated attempt was told that it need not wait for it; or its worker is gone."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """A look of the scheduler. `grace`: the controller has just begun to lead, or stood still, so nobody could reach it."""

    db_epoch: int
    host_online: bool
    """Its lease is not over."""
    seen_elsewhere: bool
    """Another host reports the VM."""
    grace: bool
    hook_waits: bool = False
    """A hook before the attempt has not answered yet: nobody may take it."""
    hook_begun: bool = False
    """One was called for it, or is."""


@dataclass(frozen=True, slots=True)
class HookPassed:
    """A hook before the run is done with, and the run goes on."""


@dataclass(frozen=True, slots=True)
class HookRefused:
    """A hook before the run failed. `skipped`: that means "not this time"."""

    failure: Failure
    skipped: bool


Event: TypeAlias = (
    Accepted
    | HookPassed
    | HookRefused
    | Reported
    | Greeted
    | AgentFailed
    | CancelAsked
    | Validated
    | RestoreHandedIn
    | Committed
    | Unpublishable
    | HeldUp
    | HandedOver
    | TimePassed
)
