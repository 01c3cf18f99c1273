"""Every duration of the controller in one frozen value, in seconds. Table [timings] of the configuration sets the first part, the rest is
the design's own; tests set both.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from seawall.controller.errors import InvalidArgument

SECOND_US = 1_000_000
DESIGN = {"configurable": False}
MAY_BE_ZERO = ("failover_grace_seconds", "collect_grace_seconds", "verify_period_seconds")
LONGEST_SECONDS = 366 * 86_400.0
LONGEST_URL_SECONDS = 7 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """All greater than 0; `failover_grace_seconds`, `collect_grace_seconds` and `verify_period_seconds` may be 0."""

    heartbeat_seconds: float = 15.0
    """Between two heartbeats of an agent."""

    lease_ttl_seconds: float = 90.0
    """A host that was silent for so long is offline, its attempts are LOST."""

    poll_wait_seconds: float = 25.0
    """Longest wait of a long-poll."""

    assigned_seconds: float = 60.0
    """An attempt that nobody accepts is given up after this."""

    preparing_seconds: float = 600.0
    """Longest phase PREPARING."""

    no_progress_seconds: float = 600.0
    """A transferring attempt that moves nothing for so long fails."""

    max_run_seconds: float = 86_400.0
    """Longest attempt."""

    reattach_grace_seconds: float = 900.0
    """LOST becomes ABANDONED after this."""

    failover_grace_seconds: float = 180.0
    """After a start of the controller nothing expires for so long."""

    cancel_soft_seconds: float = 60.0
    """From the wish to cancel to the kill of the worker."""

    scheduler_interval_seconds: float = 5.0
    """Longest pause between two looks at what is due."""

    watch_interval_seconds: float = 1.0
    """Between two looks of the replica at what changed, for polls and watchers."""

    url_ttl_seconds: float = 3600.0
    """Life of a signed URL."""

    drain_grace_seconds: float = 10.0
    """After polls were answered, how long other calls may take to end."""

    retry_seconds: float = 60.0
    """Before a run's second try; the pauses after that grow."""

    history_seconds: float = 365 * 86_400.0
    """How long what left nothing behind is remembered: runs that never began, restores, and what attempts reported."""

    collect_grace_seconds: float = 86_400.0
    """What no point needs is kept for so long after it was condemned: whoever reads the bucket without a controller may want it still."""

    verify_new_seconds: float = 20.0
    """Packs that were stored are read back so long after the last ones were: until then only their own host may name them."""

    verify_period_seconds: float = 30 * 86_400.0
    """Everything stored is read back once in this time; 0: only what is new, and what `repo check` is told to."""

    leader_lease_seconds: float = 15.0
    """Where several controllers share a database: one that is silent for so long leads no more, and another one takes over."""

    export_seconds: float = 600.0
    """VMs and facts of points, which change by themselves, are written into `v1/c/export` of each bucket at most so often."""

    agent_certificate_seconds: float = 7 * 86_400.0
    """Life of an agent's certificate."""

    retry_growth: float = field(default=4.0, metadata=DESIGN)
    """Each further pause after a failed try is so many times as long as the one before."""

    most_tries: int = field(default=3, metadata=DESIGN)

    conflict_backoff_seconds: tuple[float, float] = field(default=(60.0, 300.0), metadata=DESIGN)
    """Shortest and longest, after a conflict."""

    most_requeues: int = field(default=20, metadata=DESIGN)
    """Attempts that did not count."""

    restart_backoff_seconds: float = field(default=3.0, metadata=DESIGN)
    """After an agent's restart, and after the first worker that was killed."""

    expired_backoff_seconds: float = field(default=5.0, metadata=DESIGN)
    """After an attempt that nobody accepted."""

    remember_answers_seconds: float = field(default=24 * 3600.0, metadata=DESIGN)
    """How long a request id gets the same answer."""

    move_window_seconds: float = field(default=600.0, metadata=DESIGN)
    """At most between what a VM's old host says of its leaving and what the new one says of its arrival."""

    inventory_seconds: float = field(default=300.0, metadata=DESIGN)
    """Between two inventories of a host that has no news, while nobody else says that he has one of its VMs."""

    disputed_inventory_seconds: float = field(default=30.0, metadata=DESIGN)
    """The same while another host has a VM that this one reports too."""

    move_settle_seconds: float = field(default=40.0, metadata=DESIGN)
    """Afterwards: so long a host that really has the VM has time to contradict. Longer than a disputed host's pause between two
    inventories, shorter than an attempt waits to be accepted."""

    bandwidth_seconds: float = field(default=10.0, metadata=DESIGN)
    """Between two looks at who may use how much of the bandwidth budget."""

    share_valid_seconds: float = field(default=120.0, metadata=DESIGN)
    """So long a host keeps its share of the bandwidth without contact; then it keeps to the floor."""

    export_settle_seconds: float = field(default=2.0, metadata=DESIGN)
    """After an operator's change, before it is exported: what comes meanwhile goes with it."""

    export_look_seconds: float = field(default=60.0, metadata=DESIGN)
    """Between two looks at whether anything is to be exported."""

    notice_seconds: float = field(default=30.0, metadata=DESIGN)
    """Between two looks at what policies are to tell of their VMs: what happens meanwhile goes into one notice."""

    rpo_look_seconds: float = field(default=300.0, metadata=DESIGN)
    """Between two looks at the points of policies that tell of their RPO or of damage: it reads the fleet."""

    publish_retry_seconds: float = field(default=5.0, metadata=DESIGN)
    """Between two tries to finish a publication."""

    publishing_seconds: float = field(default=7 * 86_400.0, metadata=DESIGN)
    """A store that is away is waited for so long with a validated point; then the run fails."""

    cancel_publishing_seconds: float = field(default=900.0, metadata=DESIGN)
    """The same once the run is cancelled: a store that comes back in this time shows whether it has the point already."""

    @property
    def cancel_seconds(self) -> float:
        """From the wish to cancel to the end of an attempt whose host goes on reporting it: the host kills its worker well before."""
        return self.cancel_soft_seconds + self.no_progress_seconds

    @property
    def url_seconds(self) -> int:
        """`url_ttl_seconds`, whole, as signatures want it."""
        return max(1, int(self.url_ttl_seconds))

    @property
    def leader_renew_seconds(self) -> float:
        """Between two renewals of the leader's lease."""
        return self.leader_lease_seconds * 2 / 15

    @property
    def leader_look_seconds(self) -> float:
        """Between two looks of those who wait for it."""
        return self.leader_lease_seconds * 1 / 15

    @property
    def leader_gone_seconds(self) -> float:
        """One that was silent for so long, and whose connections the database has lost too, leads no more: its process is gone."""
        return self.leader_lease_seconds * 2 / 15

    @property
    def leader_deadline_seconds(self) -> float:
        """A leader that could not renew for so long acts as one no more: well before another one may begin."""
        return self.leader_lease_seconds * 10 / 15

    def __post_init__(self) -> None:
        for each in _configurable():
            value = getattr(self, each.name)
            # Written so that NaN, which no comparison finds, is refused too.
            if not value >= 0 or (value == 0 and each.name not in MAY_BE_ZERO):
                raise InvalidArgument("BAD_CONFIG", f"timings.{each.name} must be greater than 0")
            if value > LONGEST_SECONDS:
                raise InvalidArgument("BAD_CONFIG", f"timings.{each.name} must be at most a year")
        if self.url_ttl_seconds > LONGEST_URL_SECONDS:
            raise InvalidArgument("BAD_CONFIG", "timings.url_ttl_seconds must be at most 604800: S3 signs no longer")
        if self.lease_ttl_seconds < 2 * self.heartbeat_seconds:
            raise InvalidArgument("BAD_CONFIG", "timings.lease_ttl_seconds must be at least twice heartbeat_seconds")

    @classmethod
    def from_table(cls, table: Any, source: str) -> "Timings":
        """Raises InvalidArgument/BAD_CONFIG naming the source and the key."""
        known = {each.name for each in _configurable()}
        if not isinstance(table, dict):
            raise InvalidArgument("BAD_CONFIG", f"{source}: timings must be a table")
        values: dict[str, Any] = {}
        for key, value in table.items():
            if key not in known:
                raise InvalidArgument(
                    "BAD_CONFIG", f"{source}: unknown key 'timings.{key}'; known are {', '.join(sorted(known))}"
                )
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InvalidArgument(
                    "BAD_CONFIG", f"{source}: timings.{key} must be a number of seconds, not {value!r}"
                )
            values[key] = float(value)
        try:
            return cls(**values)
        except InvalidArgument as error:
            raise InvalidArgument("BAD_CONFIG", f"{source}: {error}") from error


def _configurable() -> list["dataclasses.Field[Any]"]:
    return [each for each in dataclasses.fields(Timings) if not each.metadata]


def microseconds(seconds: float) -> int:
    return int(seconds * SECOND_US)
