"""The leader's part in the bandwidth budget: every few seconds what hosts would use becomes what each may use.

Demands and shares are rows, so any controller may answer a heartbeat, and a new leader begins with the shares of the last one.
"""

from collections.abc import Mapping

import structlog

from seawall.controller.admission.caps import Caps
from seawall.controller.admission.waterfill import UNBOUNDED, Leaf, shares
from seawall.controller.errors import ControllerError
from seawall.controller.records.fleet import Host
from seawall.controller.records.limits import Measure, Scope, ScopeKey, Traffic
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.server.drain import Drain
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings, microseconds
from seawall.repository.clock import Clock

FLOOR_BYTES_PER_SECOND = 256 * 1024
"""What a host may use that has no valid share: enough to finish what it began, little enough for a thousand of them."""
MOST_HOSTS = 100_000

_log = structlog.get_logger()


def shared(hosts: list[Host], traffic: dict[str, Traffic], caps: Caps, since_us: int) -> dict[str, int]:
    """Host id -> share, 0 where nothing limits it; of hosts that reported since then. Pure.

    A host that is silent keeps its floor, or for a while its old share: it is not in the sum any more, as it was told until when.
    """
    leaves = [
        Leaf(host.id, host.site, traffic[host.id].demand_bytes_per_second, _budget(caps, Scope.HOST, host.id))
        for host in hosts
        if host.id in traffic and traffic[host.id].reported_us >= since_us
    ]
    sites = {leaf.site: _budget(caps, Scope.SITE, leaf.site) for leaf in leaves if leaf.site}
    found = shares(
        leaves,
        _budget(caps, Scope.GLOBAL, ""),
        {site: budget for site, budget in sites.items() if budget is not None},
        FLOOR_BYTES_PER_SECOND,
    )
    return {host_id: 0 if share is None else share for host_id, share in found.items()}


def _budget(caps: Caps, scope: Scope, key: str) -> int | None:
    return caps.value(ScopeKey(scope, key), Measure.BANDWIDTH)


class Shares:
    """The leader's loop."""

    def __init__(self, store: Store, lease: LeaderLease, clock: Clock, timings: Timings) -> None:
        self._store = store
        self._lease = lease
        self._clock = clock
        self._timings = timings

    async def run(self, drain: Drain) -> None:
        """Returns when the drain starts."""
        while not drain.started:
            try:
                await self.share_once()
            except ControllerError as error:
                _log.warning("bandwidth.not_shared", reason=error.reason, error=str(error))
            except Exception:
                # The top of the loop: the next round reads everything anew.
                _log.exception("bandwidth.not_shared")
            await drain.first(drain.wait(), self._timings.bandwidth_seconds)

    async def share_once(self) -> None:
        """Reads without a budget, and writes only what changed."""
        now_us = self._clock.now_us()
        since_us = now_us - microseconds(self._timings.share_valid_seconds)
        changed = await self._store.read(lambda transaction: changes(transaction, since_us))
        if not changed:
            return
        leader = self._lease.current

        def write(transaction: Transaction) -> None:
            transaction.leadership.check(leader)
            transaction.limits.save_shares(changed, now_us)

        await self._store.write(write)


def changes(transaction: Transaction, since_us: int) -> dict[str, int]:
    """Shares that are not stored like this."""
    caps = Caps.of(transaction.limits.limits())
    if not caps.shapes_bandwidth:
        return {}
    traffic = {each.host_id: each for each in transaction.limits.traffic()}
    found = shared(list(transaction.fleet.hosts(limit=MOST_HOSTS)), traffic, caps, since_us)
    return {
        host_id: share
        for host_id, share in found.items()
        if traffic[host_id].share_bytes_per_second != share or not traffic[host_id].share_us
    }


def told(transaction: Transaction, reports: Mapping[str, tuple[int, int]], now_us: int) -> dict[str, int]:
    """For heartbeats: notes what hosts would use and do (bytes per second), and returns their shares; none: no budget is set.

    A new host gets the floor at first.
    """
    if not reports or not Caps.of(transaction.limits.limits()).shapes_bandwidth:
        return {}
    found = {}
    for host_id, (demand, rate) in reports.items():
        known = transaction.limits.traffic_of(host_id)
        transaction.limits.report_traffic(host_id, min(demand, UNBOUNDED), min(rate, UNBOUNDED), now_us)
        shared = known is not None and known.share_us
        found[host_id] = known.share_bytes_per_second if known and shared else FLOOR_BYTES_PER_SECOND
    return found
