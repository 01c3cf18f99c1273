"""One screen: how the fleet stands. Everything is counted in the database at the moment of the question."""

from seawall.api.v1 import operator_pb2
from seawall.controller.records.catalogue import Point
from seawall.controller.records.runs import RunState
from seawall.controller.services.convert_runs import run_message
from seawall.controller.services.convert_time import timestamp
from seawall.controller.services.views import host_views, run_views
from seawall.controller.store import Transaction

DAY_US = 24 * 3600 * 1_000_000
FAILURES_SHOWN = 5
RUNS_SHOWN = 20
EVERYTHING = 1_000_000


def status_message(transaction: Transaction, now_us: int, version: str) -> operator_pb2.GetStatusResponse:
    hosts = host_views(transaction, transaction.fleet.hosts(limit=EVERYTHING), now_us)
    vms = transaction.fleet.vms(limit=EVERYTHING)
    newest = transaction.points.newest_of_vms()
    waiting_longest = min((point.instant_us for point in _of(newest, [vm.id for vm in vms])), default=0)
    opened = transaction.runs.runs(open_only=True, limit=EVERYTHING)
    failed = transaction.runs.runs(failed_since_us=max(1, now_us - DAY_US), limit=EVERYTHING)
    points, protected_bytes = transaction.points.totals()
    repositories = transaction.repositories.repositories()
    return operator_pb2.GetStatusResponse(
        hosts_online=sum(view.online for view in hosts),
        hosts_total=len(hosts),
        vms_total=len(vms),
        vms_protected=sum(vm.id in newest for vm in vms),
        oldest_newest_point_at=timestamp(waiting_longest),
        runs_active=sum(run.state is RunState.ACTIVE for run in opened),
        runs_waiting=sum(run.state is RunState.READY for run in opened),
        runs_failed_24h=len(failed),
        points_total=points,
        stored_bytes=sum(transaction.repositories.totals(record.id).stored_bytes for record in repositories),
        protected_bytes=protected_bytes,
        recent_failures=[run_message(view) for view in run_views(transaction, failed[:FAILURES_SHOWN])],
        open_runs=[run_message(view) for view in run_views(transaction, opened[:RUNS_SHOWN])],
        controller_version=version,
    )


def _of(newest: dict[str, Point], vm_ids: list[str]) -> list[Point]:
    return [newest[vm_id] for vm_id in vm_ids if vm_id in newest]
