"""What one screen needs of several tables, read in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from seawall.controller.admission.breaker import FAILURES, probe_us
from seawall.controller.policies.protection import UNPROTECTED, Protection, protections
from seawall.controller.records.catalogue import Point, RepositoryRecord, RepositoryTotals
from seawall.controller.records.fleet import Host, Session, Vm
from seawall.controller.records.hooks import CallState, HookCall
from seawall.controller.records.limits import Scope, ScopeKey
from seawall.controller.records.policies import Hold
from seawall.controller.records.runs import Attempt, Progress, Run, RunState
from seawall.controller.records.settings import NO_SETTINGS, VmSettings
from seawall.controller.runs.eta import EtaBand, eta_band
from seawall.controller.runs.silence import WITH_ITS_HOST, Silence, is_heard, silence_of
from seawall.controller.services.run_history import RunHistory
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import datetime_of


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with its attempts, oldest first, and what they last reported."""

    run: Run
    attempts: tuple[Attempt, ...]
    progress: Mapping[str, Progress]
    host_names: Mapping[str, str]
    repository_name: str
    policy_name: str = ""
    hooks: tuple[HookCall, ...] = ()
    """What is called before and after it."""
    bands: Mapping[str, EtaBand] = field(default_factory=dict)
    """Of the attempts that are under way, where the caller brought a history."""
    silences: Mapping[str, Silence] = field(default_factory=dict)
    """Of the attempts whose host is not heard of any more."""

    @property
    def mark(self) -> tuple[int, ...]:
        """Differs when anything that the view shows changed, but for `silences`: those begin and end with the time."""
        seen = [self.run.version]
        seen += [attempt.version for attempt in self.attempts]
        seen += [progress.seq for progress in self.progress.values()]
        return (*seen, *(call.tries + (call.state is not CallState.WAITING) for call in self.hooks))


@dataclass(frozen=True, slots=True)
class HostView:
    host: Host
    session: Session | None
    vm_count: int
    online: bool


@dataclass(frozen=True, slots=True)
class VmView:
    vm: Vm
    host_name: str
    newest: Point | None
    protection: Protection = UNPROTECTED
    settings: VmSettings = NO_SETTINGS


@dataclass(frozen=True, slots=True)
class PointView:
    point: Point
    repository_name: str
    host_name: str
    policy_name: str = ""
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class RepositoryView:
    record: RepositoryRecord
    totals: RepositoryTotals
    trouble: str = ""


def run_views(
    transaction: Transaction,
    runs: Sequence[Run],
    now_us: int,
    history: RunHistory | None = None,
    *,
    listening_us: int,
) -> list[RunView]:
    """`listening_us`: since when this controller can hear hosts (`silence_of`)."""
    attempts: dict[str, list[Attempt]] = {run.id: [] for run in runs}
    for attempt in transaction.runs.attempts_of(list(attempts)):
        attempts[attempt.run_id].append(attempt)
    every = [attempt for some in attempts.values() for attempt in some]
    progress = transaction.runs.progress_of([attempt.id for attempt in every])
    hosts, silences = transaction.fleet.host_names(), _silences(transaction, runs, every, now_us, listening_us)
    repositories, policies = _repository_names(transaction), _policy_names(transaction, {run.policy_id for run in runs})
    calls: dict[str, list[HookCall]] = {run.id: [] for run in runs}
    for call in transaction.hooks.calls_of([run.id for run in runs if run.policy_id]):
        calls[call.run_id].append(call)
    return [
        RunView(
            run,
            tuple(attempts[run.id]),
            {attempt.id: progress[attempt.id] for attempt in attempts[run.id] if attempt.id in progress},
            hosts,
            repositories.get(run.repository_id, ""),
            policies.get(run.policy_id, ""),
            tuple(calls[run.id]),
            _bands(transaction, run, progress.get(run.current_attempt), history),
            {attempt.id: silences[attempt.id] for attempt in attempts[run.id] if attempt.id in silences},
        )
        for run in runs
    ]


def _silences(
    transaction: Transaction, runs: Sequence[Run], attempts: Sequence[Attempt], now_us: int, listening_us: int
) -> dict[str, Silence]:
    """By attempt. Leases are read only for what is with a host at this moment."""
    open_runs = {run.id: run for run in runs if not run.state.over}
    some = [each for each in attempts if each.state in WITH_ITS_HOST and each.run_id in open_runs]
    if not some:
        return {}
    host_ids = sorted({each.host_id for each in some})
    sessions = {session.agent_id: session for session in transaction.fleet.sessions_of(host_ids)}
    found = {
        each.id: silence_of(open_runs[each.run_id], each, sessions.get(each.host_id), now_us, listening_us)
        for each in some
    }
    return {attempt_id: silence for attempt_id, silence in found.items() if silence is not None}


def _bands(
    transaction: Transaction, run: Run, progress: Progress | None, history: RunHistory | None
) -> dict[str, EtaBand]:
    if history is None or progress is None or run.state is not RunState.ACTIVE:
        return {}
    band = eta_band(progress, history.rates(transaction, run))
    return {run.current_attempt: band} if band else {}


def host_views(transaction: Transaction, hosts: Sequence[Host], now_us: int, *, listening_us: int) -> list[HostView]:
    """`listening_us`: since when this controller can hear hosts (`silence_of`)."""
    counts = transaction.fleet.vm_counts()
    sessions = {session.agent_id: session for session in transaction.fleet.sessions_of([host.id for host in hosts])}
    views = []
    for host in hosts:
        session = sessions.get(host.id)
        online = is_heard(session, now_us, listening_us) and not host.revoked
        views.append(HostView(host, session, counts.get(host.id, 0), online))
    return views


def vm_views(transaction: Transaction, vms: Sequence[Vm]) -> list[VmView]:
    newest = transaction.points.newest_of_vms([vm.id for vm in vms])
    names = transaction.fleet.host_names()
    settings = transaction.settings.of_vms([vm.id for vm in vms])
    protected = protections(transaction, vms)
    return [
        VmView(
            vm,
            names.get(vm.host_id, ""),
            newest.get(vm.id),
            protected.get(vm.id, UNPROTECTED),
            settings.get(vm.id, NO_SETTINGS),
        )
        for vm in vms
    ]


def point_views(transaction: Transaction, points: Sequence[Point]) -> list[PointView]:
    repositories = _repository_names(transaction)
    policies = _policy_names(transaction, {point.policy_id for point in points})
    hosts = transaction.fleet.host_names()
    holds = transaction.policies.holds_of([point.id for point in points])
    return [
        PointView(
            point,
            repositories.get(point.repository_id, ""),
            hosts.get(point.host_id, ""),
            policies.get(point.policy_id, ""),
            holds.get(point.id),
        )
        for point in points
    ]


def repository_views(transaction: Transaction, records: Sequence[RepositoryRecord]) -> list[RepositoryView]:
    return [
        RepositoryView(record, transaction.repositories.totals(record.id), failing(transaction, record))
        for record in records
    ]


def failing(transaction: Transaction, record: RepositoryRecord) -> str:
    """That runs wait because one after the other failed; "" while they do not."""
    breaker = transaction.limits.breaker(ScopeKey(Scope.REPOSITORY, record.id))
    if breaker is None or breaker.failures < FAILURES:
        return ""
    when = f"{datetime_of(probe_us(breaker)):%H:%M:%S} UTC"
    last = f"{breaker.reason}: {breaker.message}"
    return f"{breaker.failures} attempts failed in a row, so runs wait; the next one tries from {when} on. The last one: {last}"


def _repository_names(transaction: Transaction) -> dict[str, str]:
    return {record.id: record.name for record in transaction.repositories.repositories()}


def _policy_names(transaction: Transaction, policy_ids: set[str]) -> dict[str, str]:
    """Deleted ones too: their runs and points remain."""
    found = (transaction.policies.policy(policy_id) for policy_id in policy_ids if policy_id)
    return {policy.id: policy.name for policy in found if policy is not None}
