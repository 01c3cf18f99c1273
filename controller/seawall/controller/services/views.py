"""What one screen needs of several tables, read in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seawall.controller.records.catalogue import Point, RepositoryRecord, RepositoryTotals
from seawall.controller.records.fleet import Host, Session, Vm
from seawall.controller.records.runs import Attempt, Progress, Run
from seawall.controller.store import Transaction


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with its attempts, oldest first, and what they last reported."""

    run: Run
    attempts: tuple[Attempt, ...]
    progress: Mapping[str, Progress]
    host_names: Mapping[str, str]
    repository_name: str

    @property
    def mark(self) -> tuple[int, ...]:
        """Differs when anything that the view shows changed."""
        seen = [self.run.version]
        seen += [attempt.version for attempt in self.attempts]
        return (*seen, *(progress.seq for progress in self.progress.values()))


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


@dataclass(frozen=True, slots=True)
class PointView:
    point: Point
    repository_name: str
    host_name: str


@dataclass(frozen=True, slots=True)
class RepositoryView:
    record: RepositoryRecord
    totals: RepositoryTotals


def run_views(transaction: Transaction, runs: Sequence[Run]) -> list[RunView]:
    attempts: dict[str, list[Attempt]] = {run.id: [] for run in runs}
    for attempt in transaction.runs.attempts_of(list(attempts)):
        attempts[attempt.run_id].append(attempt)
    every = [attempt for some in attempts.values() for attempt in some]
    progress = transaction.runs.progress_of([attempt.id for attempt in every])
    hosts = _host_names(transaction, {attempt.host_id for attempt in every})
    repositories = _repository_names(transaction)
    return [
        RunView(
            run,
            tuple(attempts[run.id]),
            {attempt.id: progress[attempt.id] for attempt in attempts[run.id] if attempt.id in progress},
            hosts,
            repositories.get(run.repository_id, ""),
        )
        for run in runs
    ]


def host_views(transaction: Transaction, hosts: Sequence[Host], now_us: int) -> list[HostView]:
    counts = transaction.fleet.vm_counts()
    views = []
    for host in hosts:
        session = transaction.fleet.session(host.id)
        online = session is not None and session.lease_until_us > now_us and not host.revoked
        views.append(HostView(host, session, counts.get(host.id, 0), online))
    return views


def vm_views(transaction: Transaction, vms: Sequence[Vm]) -> list[VmView]:
    newest = transaction.points.newest_of_vms([vm.id for vm in vms])
    names = _host_names(transaction, {vm.host_id for vm in vms})
    return [VmView(vm, names.get(vm.host_id, ""), newest.get(vm.id)) for vm in vms]


def point_views(transaction: Transaction, points: Sequence[Point]) -> list[PointView]:
    repositories = _repository_names(transaction)
    hosts = _host_names(transaction, {point.host_id for point in points})
    return [
        PointView(point, repositories.get(point.repository_id, ""), hosts.get(point.host_id, "")) for point in points
    ]


def repository_views(transaction: Transaction, records: Sequence[RepositoryRecord]) -> list[RepositoryView]:
    return [RepositoryView(record, transaction.repositories.totals(record.id)) for record in records]


def _host_names(transaction: Transaction, host_ids: set[str]) -> dict[str, str]:
    found = (transaction.fleet.host(host_id) for host_id in host_ids)
    return {host.id: host.name for host in found if host is not None}


def _repository_names(transaction: Transaction) -> dict[str, str]:
    return {record.id: record.name for record in transaction.repositories.repositories()}
