"""Policies as they are stored, what is due because of them, and holds. All times are microseconds since 1970 UTC; 0 means never."""

from dataclasses import dataclass, field
from enum import StrEnum

from seawall.controller.forgetting.retention import Policy as Retention
from seawall.controller.records.hooks import PolicyHooks
from seawall.controller.records.settings import CaptureSettings


class WindowEnd(StrEnum):
    """What becomes of runs that a window closes on."""

    NO_NEW_STARTS = "NO_NEW_STARTS"
    """What runs goes on; what waits waits for the next window."""
    FINISH_CURRENT = "FINISH_CURRENT"
    """The same, but what still runs after `finish_seconds` is canceled."""
    CANCEL = "CANCEL"


@dataclass(frozen=True, slots=True)
class Terms:
    """VMs by any of these. `names`: names or ids. `pattern`: a regular expression that the whole name matches, "" for none."""

    names: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    pattern: str = ""

    @property
    def empty(self) -> bool:
        return not (self.names or self.hosts or self.tags or self.pattern)


@dataclass(frozen=True, slots=True)
class Selection:
    """Every VM, or those that the terms name; without those that `but` names."""

    everything: bool
    terms: Terms
    but: Terms


@dataclass(frozen=True, slots=True)
class Window:
    """Open from `start_minute` of each of the days (0 is Monday) to `end_minute`, of the next day when that is not later; local time."""

    days: tuple[int, ...]
    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """What somebody wrote. `repository` is a name. Seconds are None where the default follows from the rest.

    It is due by `cron` in `zone`, or, where `every_seconds` says so, each time that many seconds have passed; then `cron` is "".
    """

    name: str
    repository: str
    select: Selection
    cron: str
    zone: str
    spread_seconds: int | None = None
    catch_up_seconds: int | None = None
    rpo_seconds: int = 0
    windows: tuple[Window, ...] = ()
    window_end: WindowEnd = WindowEnd.NO_NEW_STARTS
    finish_seconds: int = 0
    retention: Retention = field(default_factory=Retention)
    """Without any rule, nothing is ever deleted."""
    capture: CaptureSettings = field(default_factory=CaptureSettings)
    paused: bool = False
    every_seconds: int = 0
    hooks: PolicyHooks = field(default_factory=PolicyHooks)
    verify_seconds: int = 0
    """Each of its points is read back at least so often; 0: as the controller does with all that is stored."""

    @property
    def calendar(self) -> tuple[str, str, int]:
        """What decides when it is due."""
        return self.cron, self.zone, self.every_seconds

    tenant: str = ""
    """Whose its VMs are, where a VM itself does not say so; "": the default tenant's."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy at its newest revision. `fired_us`: the last nominal time that was dealt with; nothing before it is due any more.

    A deleted one keeps its row: its points name it, and a new one of the same name goes on with them.
    """

    id: str
    revision: int
    spec: PolicySpec
    repository_id: str
    created_us: int
    changed_us: int
    fired_us: int
    deleted_us: int = 0

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def active(self) -> bool:
        """Begins runs by itself."""
        return not self.deleted_us and not self.spec.paused


@dataclass(frozen=True, slots=True)
class DueFiring:
    """A backup that is due and has to wait until no other run backs up the VM into the repository. A later one takes its place."""

    policy_id: str
    vm_id: str
    nominal_us: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Keeps a point from every deletion until somebody releases it, or until `until_us` (0: without end)."""

    point_id: str
    reason: str
    created_us: int
    until_us: int = 0
