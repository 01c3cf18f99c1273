"""One screen: how the fleet stands at the moment of the question, as the database counts it."""

from seawall.api.v1 import operator_pb2
from seawall.controller.policies.unprotected import UnprotectedVms
from seawall.controller.records.catalogue import RepositoryRecord
from seawall.controller.records.runs import OPEN_RUN_STATES, RunFilter, RunState
from seawall.controller.recovering.decisions import troubles
from seawall.controller.repositories.health import StoreHealth
from seawall.controller.services.convert_fleet import host_message
from seawall.controller.services.convert_runs import run_message
from seawall.controller.services.convert_time import timestamp
from seawall.controller.services.outdated import OutdatedHosts
from seawall.controller.services.views import failing, host_views, run_views
from seawall.controller.store.transaction import Transaction

DAY_US = 24 * 3600 * 1_000_000
FAILURES_SHOWN = 5
RUNS_SHOWN = 20
MOST_HOSTS = 100_000
SILENT_US = 30 * 1_000_000
"""A controller that did not report for so long is not shown."""


def status_message(
    transaction: Transaction,
    now_us: int,
    version: str,
    health: StoreHealth,
    outdated: OutdatedHosts,
    unprotected: UnprotectedVms,
    *,
    listening_us: int,
) -> operator_pb2.GetStatusResponse:
    since_us = max(1, now_us - DAY_US)
    hosts = host_views(transaction, transaction.fleet.hosts(limit=MOST_HOSTS), now_us, listening_us=listening_us)
    opened = transaction.runs.runs(RunFilter(states=OPEN_RUN_STATES), limit=RUNS_SHOWN)
    opened_views = run_views(transaction, opened, now_us, listening_us=listening_us)
    failed = transaction.runs.runs(RunFilter(states=(RunState.FAILED,), since_us=since_us), limit=FAILURES_SHOWN)
    failed_views = run_views(transaction, failed, now_us, listening_us=listening_us)
    counts, totals = transaction.runs.counts(since_us), transaction.points.totals()
    repositories = transaction.repositories.repositories()
    messages = [host_message(view) for view in hosts]
    outdated.mark(messages)
    return operator_pb2.GetStatusResponse(
        hosts_online=sum(view.online for view in hosts),
        hosts_total=len(hosts),
        vms_total=transaction.fleet.vm_count(),
        hosts_needing_upgrade=sum(each.HasField("needs_upgrade") for each in messages),
        vms_protected=totals.vms,
        vms_unprotected=unprotected.count(transaction, now_us),
        oldest_newest_point_at=timestamp(totals.oldest_newest_us),
        runs_active=counts.active,
        runs_waiting=counts.ready,
        runs_failed_24h=counts.failed,
        points_total=totals.points,
        points_verified=totals.verified,
        stored_bytes=sum(transaction.repositories.totals(record.id).stored_bytes for record in repositories),
        protected_bytes=totals.virtual_bytes,
        recent_failures=[run_message(view) for view in failed_views],
        open_runs=[run_message(view) for view in opened_views],
        controller_version=version,
        replicas=_replicas(transaction, now_us),
        troubles=troubles(transaction, now_us),
        repository_troubles=[
            told for record in repositories if (told := _told(transaction, record, health)) is not None
        ],
    )


def _told(
    transaction: Transaction, record: RepositoryRecord, health: StoreHealth
) -> operator_pb2.RepositoryTrouble | None:
    """What `repo show` says of it; None: nothing is wrong."""
    trouble = health.trouble(record.id) or failing(transaction, record)
    if not trouble:
        return None
    return operator_pb2.RepositoryTrouble(
        repository_id=record.id,
        name=record.name,
        trouble=trouble,
        opening_since=timestamp(health.opening_since_us(record.id)),
    )


def _replicas(transaction: Transaction, now_us: int) -> list[operator_pb2.Replica]:
    """Those that share the database; times are by each one's own clock."""
    holder = transaction.leadership.lease().holder
    return [
        operator_pb2.Replica(
            operator_address=each.operator_address,
            agent_address=each.agent_address,
            version=each.version,
            leads=each.id == holder,
            seen_at=timestamp(each.seen_us),
        )
        for each in transaction.leadership.replicas(now_us - SILENT_US)
    ]
