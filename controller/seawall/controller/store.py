"""The store port: what the controller's parts ask of its database, by role. `database/` implements it; nobody else sees SQL.

Contract, checked by tests/contract/test_controller_store.py:
- `write` runs a pure closure in one serialised transaction: it sees all earlier writes, and either all of its changes are durable when the
  call returns, or none is. A closure may run again after a conflict, so it must touch nothing but its transaction.
- `read` sees one consistent snapshot of the last commit and never waits for a writer.
- `save_run` and `save_attempt` compare the version that was read: a record that somebody changed since raises Aborted/CHANGED.
- Errors are ours: Aborted, Unavailable/DATABASE, DataLoss/DATABASE_DAMAGED, InvalidArgument/BAD_NUMBER, AlreadyExists.
- Lists are ordered as their docstrings say.
- `write` and `read` belong to the event loop; `write_now` and `read_now` are the same for worker threads.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from seawall.controller.records.catalogue import Pack, Point, PointTotals, RepositoryRecord, RepositoryTotals
from seawall.controller.records.fleet import Host, Session, Vm
from seawall.controller.records.limits import (
    Apart,
    Breaker,
    Limit,
    Measure,
    Scope,
    ScopeKey,
    Service,
    Traffic,
)
from seawall.controller.records.maintenance import Job, Pin
from seawall.controller.records.policies import DueFiring, Hold, Policy, PolicySpec
from seawall.controller.records.runs import Attempt, Progress, Run, RunCounts
from seawall.controller.records.settings import VmSettings

T = TypeVar("T")

SHORTEST_PREFIX = 8
"""An id may be given by its first digits, so many at least."""


@dataclass(frozen=True, slots=True)
class Leader:
    """A held leadership: the guard of every leader write. `epoch` grows with each start."""

    holder: str
    epoch: int
    server: str = field(default="", compare=False)
    """The database server's history and start, where it can change under a leader: another one ends the leadership."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A controller on this database, and where it is reached (host:port)."""

    id: str
    version: str
    operator_address: str
    agent_address: str
    seen_us: int = 0


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """The leader's row as it is. `holder` "": nobody leads. It changes with each renewal."""

    holder: str
    epoch: int
    expires_us: int
    operator_address: str = ""
    agent_address: str = ""


class Leadership(Protocol):
    """The leader row, the database's epoch, and the row that orders publication against collection."""

    def db_epoch(self) -> int: ...

    def raise_db_epoch(self) -> int:
        """After a roll-back was noticed: every attempt assigned before is fenced."""

    def acquire(self, holder: str, now_us: int, lease_us: int) -> Leader | None:
        """Take the lease when it is free, over, or the holder's own; the epoch grows. None: somebody else holds it."""

    def lease(self) -> LeaseRow: ...

    def connected(self, holder: str) -> bool:
        """Whether the database has a connection of the controller of this name. True where it cannot tell."""

    def take(self, seen: LeaseRow, replica: Replica, now_us: int, lease_us: int) -> Leader | None:
        """Take the lease if its row is still as it was seen; the epoch grows. None: it is another one. The caller knows that it is over."""

    def report(self, replica: Replica) -> None:
        """It is there; rows of those that were silent for a day go."""

    def replicas(self, since_us: int) -> Sequence[Replica]:
        """Those that reported since then, by id."""

    def raise_epoch(self, leader: Leader, above: int) -> Leader:
        """The same leadership under an epoch above the given one. Raises Unavailable/NOT_LEADER."""

    def renew(self, leader: Leader, now_us: int, lease_us: int) -> None:
        """Raises Unavailable/NOT_LEADER."""

    def release(self, leader: Leader) -> None: ...

    def check(self, leader: Leader) -> None:
        """Raises Unavailable/NOT_LEADER. First call of every leader's transaction."""

    def publications(self, repository_id: str) -> int:
        """The number of the last step that `order_publication` ordered."""

    def raise_publications(self, repository_id: str, to: int) -> None:
        """The next number is greater than this one. For what a bucket knows of a history that this database lost."""

    def opened_epoch(self, repository_id: str) -> int:
        """As which epoch a controller of this database last opened the repository, all that the bucket told it taken over. 0: never."""

    def note_opening(self, repository_id: str, epoch: int) -> None: ...

    def order_publication(self, leader: Leader, repository_id: str) -> int:
        """The row update that validation and every condemn slice begin with; its number. Raises Unavailable/NOT_LEADER."""


class Fleet(Protocol):
    """Hosts, sessions, VMs."""

    def host(self, host_id: str) -> Host | None: ...

    def hosts(self, after: str = "", limit: int = 1000) -> Sequence[Host]:
        """By id."""

    def hosts_named(self, text: str) -> Sequence[Host]:
        """Those whose id is, or begins with, or whose name is the text."""

    def describe_host(self, host_id: str, name: str, agent_version: str, hypervisor_version: str) -> None: ...

    def bump_generation(self, host_id: str) -> None:
        """The host's desired set changed."""

    def session(self, agent_id: str) -> Session | None: ...

    def sessions(self) -> Sequence[Session]: ...

    def open_session(self, session: Session) -> None:
        """Replaces the agent's older one."""

    def renew_session(self, agent_id: str, session_id: str, lease_until_us: int, now_us: int) -> None: ...

    def vm(self, vm_id: str) -> Vm | None: ...

    def vms(self, host_id: str = "", after: str = "", limit: int = 1000) -> Sequence[Vm]:
        """By id."""

    def vms_named(self, text: str) -> Sequence[Vm]: ...

    def vm_counts(self) -> dict[str, int]:
        """Host id -> VMs present there."""

    def vm_count(self) -> int:
        """All VMs ever reported."""

    def vms_since(self, change: int) -> Sequence[tuple[Vm, int]]:
        """VMs with what their host, disks, tags or presence last changed with: a number that grows; those not older than the one given."""

    def set_service(self, host_id: str, service: Service) -> None: ...

    def set_site(self, host_id: str, site: str) -> None: ...

    def replace_inventory(self, host_id: str, revision: int, vms: Iterable[Vm]) -> Sequence[str]:
        """The whole set of a host: its VMs that are not named are no longer present. Ids of those that were another host's until now.

        Another host's VM is taken over when that host does not report it any more, or when it runs here and does not run there, or that
        host is offline.
        """


class Runs(Protocol):
    """Runs, attempts and progress."""

    def run(self, run_id: str) -> Run | None: ...

    def runs_named(self, text: str) -> Sequence[Run]: ...

    def runs(
        self, *, before: str = "", limit: int = 1000, vm_id: str = "", open_only: bool = False, failed_since_us: int = 0
    ) -> Sequence[Run]:
        """Newest first; `before`: only ids smaller than this. `failed_since_us`: only FAILED ones that ended since."""

    def ready(self, now_us: int) -> Sequence[Run]:
        """READY and due, or past their deadline, oldest first."""

    def ready_versions(self, now_us: int) -> dict[str, int]:
        """Id -> version of what `ready` returns."""

    def late(self, now_us: int) -> frozenset[str]:
        """Ids of ACTIVE runs past their deadline."""

    def runs_of(self, run_ids: Sequence[str]) -> Sequence[Run]:
        """In any order; those that there are."""

    def counts(self, failed_since_us: int) -> RunCounts:
        """Of now; FAILED ones that ended since then."""

    def open_backup(self, vm_id: str, repository_id: str) -> Run | None: ...

    def add_run(self, run: Run) -> None: ...

    def save_run(self, before: Run, after: Run) -> Run:
        """Compare and swap; returns `after` with its new version, or `before` when nothing changed."""

    def attempt(self, attempt_id: str) -> Attempt | None: ...

    def attempts_of(self, run_ids: Sequence[str]) -> Sequence[Attempt]:
        """By run and number."""

    def live_attempts(self, host_id: str = "") -> Sequence[Attempt]: ...

    def add_attempt(self, attempt: Attempt) -> None: ...

    def save_attempt(self, before: Attempt, after: Attempt) -> Attempt: ...

    def progress_of(self, attempt_ids: Sequence[str]) -> dict[str, Progress]: ...

    def save_progress(self, attempt_id: str, progress: Progress, now_us: int) -> None:
        """An older sequence number than the stored one changes nothing."""


class Settings(Protocol):
    """What was said about how single VMs are captured."""

    def of_vm(self, vm_id: str) -> VmSettings:
        """NO_SETTINGS where nothing was said."""

    def of_vms(self, vm_ids: Sequence[str]) -> dict[str, VmSettings]:
        """Only those of which something was said."""

    def ignored(self) -> frozenset[str]:
        """Ids of VMs that no policy need protect."""

    def save(self, vm_id: str, settings: VmSettings, now_us: int) -> None: ...


class Policies(Protocol):
    """Policies, what is due because of them, and holds."""

    def policies(self, *, deleted: bool = False) -> Sequence[Policy]:
        """By name. `deleted`: those too."""

    def policy(self, policy_id: str) -> Policy | None: ...

    def policy_named(self, name: str) -> Policy | None:
        """Also a deleted one: names are never given to two."""

    def revision(self, policy_id: str, revision: int) -> PolicySpec | None:
        """As it was applied."""

    def add_policy(self, policy: Policy) -> None:
        """With its first revision."""

    def save_policy(self, before: Policy, after: Policy) -> None:
        """Compares the revision; a new one is kept beside the old ones. The name stays. Raises Aborted/CHANGED."""

    def mark_fired(self, policy_id: str, fired_us: int) -> None: ...

    def fired(self, policy_id: str, nominal_us: int) -> frozenset[str]:
        """Ids of VMs that have a run, of whatever state, for this nominal time."""

    def open_backups(self, vm_ids: Sequence[str], repository_id: str) -> dict[str, tuple[str, str]]:
        """VM id -> (run id, policy id or "") of its open backup into the repository."""

    def skipped_since(self, policy_id: str, vm_ids: Sequence[str], run_ids: Sequence[str]) -> frozenset[str]:
        """Those VMs of which the policy skipped a firing since their run (the one at the same place) was made."""

    def open_runs(self, policy_id: str) -> Sequence[str]:
        """Ids, oldest first."""

    def due(self, policy_id: str = "") -> Sequence[DueFiring]:
        """Oldest first."""

    def put_due(self, firing: DueFiring) -> None:
        """In place of an older one of the same policy and VM."""

    def drop_due(self, policy_id: str, vm_id: str = "") -> None:
        """That of one VM, or all of the policy."""

    def durations_us(self, vm_ids: Sequence[str], since_us: int) -> dict[str, int]:
        """VM id -> from order to end of its last good backup, of those that ended since."""

    def groups(self, policy_id: str, since_us: int) -> Sequence[tuple[str, str]]:
        """(VM id, repository id) of the policy's AVAILABLE points that were published since."""

    def newest_us(self, policy_id: str) -> dict[str, int]:
        """VM id -> the instant of its newest AVAILABLE point of the policy."""

    def point_ids(self, policy_id: str, vm_id: str = "") -> Sequence[str]:
        """PUBLISHING and AVAILABLE points of the policy, oldest first."""

    def hold(self, hold: Hold) -> None:
        """In place of an older one of the same point."""

    def release(self, point_id: str) -> bool:
        """False: there was none."""

    def drop_holds(self, now_us: int) -> int:
        """Those that are over; how many."""

    def holds_of(self, point_ids: Collection[str]) -> dict[str, Hold]:
        """Point id -> its hold. One that is over counts until `drop_holds`."""


class Limits(Protocol):
    """What admission keeps."""

    def limits(self) -> Sequence[Limit]: ...

    def set_limit(self, limit: Limit) -> None:
        """Replaces the one of the same scope, key and measure."""

    def unset_limit(self, scope: Scope, key: str, measure: Measure) -> bool:
        """False: there was none."""

    def breakers(self) -> Sequence[Breaker]:
        """Those with failures."""

    def breaker(self, where: ScopeKey) -> Breaker | None: ...

    def save_breaker(self, breaker: Breaker) -> None: ...

    def apart(self) -> Sequence[Apart]:
        """By label and VM."""

    def keep_apart(self, label: str, vm_ids: Sequence[str]) -> None:
        """These VMs are of the group now. Repeatable."""

    def keep_together(self, label: str, vm_ids: Sequence[str]) -> None:
        """These VMs are of the group no more. Repeatable."""

    def traffic(self) -> Sequence[Traffic]: ...

    def traffic_of(self, host_id: str) -> Traffic | None: ...

    def report_traffic(self, host_id: str, demand: int, rate: int, now_us: int) -> None:
        """Bytes per second; the share stays."""

    def save_shares(self, shares: Mapping[str, int], now_us: int) -> None:
        """Host id -> bytes per second, of hosts that reported."""


class Points(Protocol):
    """Restore points."""

    def point(self, point_id: str) -> Point | None: ...

    def points_named(self, text: str) -> Sequence[Point]:
        """PUBLISHING and AVAILABLE ones."""

    def points(
        self, *, before: str = "", limit: int = 1000, vm_id: str = "", repository_id: str = "", policy_id: str = ""
    ) -> Sequence[Point]:
        """PUBLISHING and AVAILABLE ones, newest first, without their intents."""

    def newest(self, vm_id: str, repository_id: str) -> Point | None:
        """The AVAILABLE point of a VM in a repository that was published last: the parent of the next."""

    def newest_of_vms(self, vm_ids: Sequence[str]) -> dict[str, Point]:
        """VM id -> its newest AVAILABLE point anywhere."""

    def newest_since(self, published_us: int) -> dict[str, int]:
        """VM id -> the greatest instant of its AVAILABLE points that were published since then."""

    def unfinished(self) -> Sequence[str]:
        """Ids of PUBLISHING ones, oldest first."""

    def add_point(self, point: Point) -> None: ...

    def make_available(self, point_id: str, published_us: int) -> None:
        """AVAILABLE, its intent dropped: the bucket holds those bytes now."""

    def give_up(self, point_id: str) -> None:
        """FAILED for ever, its intent dropped."""

    def roots(self, repository_id: str, *, after: str = "", limit: int = 1000, since_seq: int = 0) -> Sequence[Point]:
        """What keeps slots alive: PUBLISHING, AVAILABLE and DELETING points, by id, without their intents. `since_seq`: only later ones."""

    def begin_delete(self, point_id: str, tombstone: bytes, now_us: int) -> None:
        """AVAILABLE to DELETING, with the exact bytes of its t/ object. Raises Aborted/CHANGED. The caller has looked at its pins."""

    def end_delete(self, point_id: str, now_us: int) -> None:
        """DELETING to DELETED. Raises Aborted/CHANGED."""

    def deleting(self, repository_id: str = "") -> Sequence[str]:
        """Ids of DELETING ones, oldest first."""

    def mark_damaged(self, point_id: str, damaged: str) -> None:
        """JSON of what is lost; "": nothing any more."""

    def unproven(self, repository_id: str, limit: int, *, again: bool = False) -> Sequence[Point]:
        """AVAILABLE, undamaged, and never looked at as `mark_proved` means it; by VM, in the order of publication. `again`: or in vain."""

    def newest_proven(self, repository_id: str, vm_id: str) -> Point | None: ...

    def mark_proved(self, point_id: str, verified_us: int) -> None:
        """When all that it needs was found read back and proven; negative: then it was not so. Nothing where it is not AVAILABLE."""

    def totals(self) -> PointTotals: ...


class Packs(Protocol):
    """Packs: one row each, never a row a chunk."""

    def packs(self, repository_id: str, pack_ids: Sequence[bytes]) -> dict[bytes, Pack]: ...

    def stored(self, repository_id: str) -> Sequence[Pack]: ...

    def pack_page(self, repository_id: str, after: bytes, limit: int) -> Sequence[Pack]:
        """Packs of every state with greater ids, by id."""

    def unseen(self, repository_id: str, limit: int) -> Sequence[Pack]:
        """STORED packs that were never read whole, by id."""

    def by_look(self, repository_id: str, limit: int) -> Sequence[Pack]:
        """STORED packs: never read ones, then the one that was read whole longest ago first, whatever that found."""

    def flawed(self, repository_id: str) -> Sequence[Pack]:
        """STORED packs that were not whole when they were last read (`verified_us` below 0), by id. Bad slots are in no other."""

    def in_use(self, repository_id: str, pack_ids: Sequence[bytes], since_us: int) -> frozenset[bytes]:
        """Those whose attempt's run is open, or failed and the attempt ended after then: what they hold may be named soon."""

    def add_pack(self, pack: Pack) -> None: ...

    def save_pack(self, before: Pack, after: Pack) -> None:
        """What differs is written. For transactions that read `before` themselves."""

    def reopen(self, repository_id: str, pack_id: bytes, attempt_id: str) -> None:
        """An OPEN pack passes to a later attempt of the same host."""

    def mark_stored(self, repository_id: str, pack_id: bytes, size_bytes: int, slots: int) -> bool:
        """False: it was not OPEN any more."""

    def void(self, repository_id: str, pack_id: bytes) -> bool:
        """Given up for ever. False: it was not OPEN."""

    def void_unknown(self, repository_id: str, pack_ids: Sequence[bytes]) -> None:
        """Ids that no row has: given up for ever. Repeatable."""

    def void_ids(self, repository_id: str, pack_ids: Sequence[bytes]) -> frozenset[bytes]:
        """Those of them that `void_unknown` gave up."""


class Pins(Protocol):
    """What keeps a point from being deleted."""

    def pin(self, pin: Pin) -> None:
        """Repeatable for the same holder and point. Raises FailedPrecondition/POINT_NOT_AVAILABLE."""

    def pins_of(self, point_ids: Sequence[str]) -> Sequence[Pin]:
        """Those whose holder is open, oldest first."""

    def drop_spent(self, repository_id: str) -> int:
        """Rows of pins whose holder is over go; how many."""


class Jobs(Protocol):
    """Maintenance jobs."""

    def job(self, job_id: str) -> Job | None: ...

    def jobs_named(self, text: str) -> Sequence[Job]: ...

    def jobs(self, *, repository_id: str = "", before: str = "", limit: int = 1000) -> Sequence[Job]:
        """Newest first; `before`: only ids smaller than this."""

    def open_jobs(self) -> Sequence[Job]:
        """READY and ACTIVE ones, oldest first."""

    def add_job(self, job: Job) -> None: ...

    def drop_job(self, job_id: str) -> None:
        """From the list, for good. For jobs that are over."""

    def save_job(self, before: Job, after: Job) -> Job:
        """Compare and swap; returns `after` with its new version, or `before` when nothing changed."""


class Repositories(Protocol):
    """Repositories, creations under way, and the secrets that they need."""

    def repository(self, repository_id: str) -> RepositoryRecord | None: ...

    def repositories(self) -> Sequence[RepositoryRecord]:
        """By name."""

    def repositories_named(self, text: str) -> Sequence[RepositoryRecord]: ...

    def add_repository(self, record: RepositoryRecord) -> None:
        """Raises AlreadyExists/NAME_TAKEN."""

    def totals(self, repository_id: str) -> RepositoryTotals: ...

    def secret(self, secret_id: str) -> bytes | None: ...

    def add_secret(self, secret_id: str, ciphertext: bytes) -> None: ...

    def creation(self, url: str) -> bytes | None:
        """The sealed creation under way in this place."""

    def begin_creation(self, url: str, ciphertext: bytes) -> bytes:
        """The creation of this place: the one that was begun before, else this one."""

    def end_creation(self, url: str) -> None:
        """Its repository's row stands. Repeatable."""


class Answers(Protocol):
    """Answers to mutations, by the caller's request id: asked again, the same answer."""

    def answer(self, principal: str, request_id: str, method: str) -> str | None:
        """Raises InvalidArgument/REQUEST_ID_REUSED when the id belongs to another method."""

    def remember(self, principal: str, request_id: str, method: str, answer: str, expires_us: int) -> None: ...

    def forget(self, now_us: int) -> None:
        """Those that expired."""


class Transaction(Protocol):
    """One transaction, seen by role."""

    @property
    def leadership(self) -> Leadership: ...
    @property
    def fleet(self) -> Fleet: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def policies(self) -> Policies: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def points(self) -> Points: ...
    @property
    def packs(self) -> Packs: ...
    @property
    def pins(self) -> Pins: ...
    @property
    def jobs(self) -> Jobs: ...
    @property
    def repositories(self) -> Repositories: ...
    @property
    def answers(self) -> Answers: ...


class Store(Protocol):
    """The database."""

    async def write(self, closure: Callable[[Transaction], T]) -> T: ...

    async def read(self, closure: Callable[[Transaction], T]) -> T: ...

    def write_now(self, closure: Callable[[Transaction], T]) -> T: ...

    def read_now(self, closure: Callable[[Transaction], T]) -> T: ...
