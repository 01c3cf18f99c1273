"""The fleet in memory, brought up to date by what changed since the last look: a tick's cost is what is new, not what there is.

A cache of the database: it starts empty, is never written back, and every placement is checked again in the transaction that makes it.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from seawall.controller.admission.caps import Caps
from seawall.controller.admission.facts import FleetFacts, Occupied, VmFacts
from seawall.controller.admission.storage import storages_of
from seawall.controller.records.fleet import Vm
from seawall.controller.records.limits import ScopeKey
from seawall.controller.records.policies import Policy
from seawall.controller.records.runs import Attempt, AttemptState, Run, RunKind
from seawall.controller.store import Transaction
from seawall.controller.timings import SECOND_US

OVERLAP_CHANGES = 16
"""Numbers that are looked at again: transactions may commit in another order than they counted."""
OVERLAP_US = 60_000_000
WHOLE_US = 600_000_000
"""After so long everything is read anew: what a deletion or another controller's clock hid does not stay hidden."""
MOST_HOSTS = 100_000
_PREPARING = (AttemptState.ASSIGNED, AttemptState.PREPARING)


@dataclass(frozen=True, slots=True)
class Sight:
    """`ready`: READY runs that are due or past their deadline. `attempts`: the live ones."""

    ready: Sequence[Run]
    facts: FleetFacts
    attempts: Sequence[Attempt]


class FleetMirror:
    """Of one process. Thread-safe: each look takes its turn."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._vms: dict[str, VmFacts] = {}
        self._runs: dict[str, Run] = {}
        self._active: dict[str, Run] = {}
        self._newest: dict[str, int] = {}
        self._labels: dict[str, tuple[str, ...]] = {}
        self._tags: dict[str, tuple[str, ...]] = {}
        self._change = 0
        self._published_us = 0
        self._whole_us = 0

    def look(self, transaction: Transaction, now_us: int) -> Sight:
        with self._lock:
            if not self._whole_us or now_us - self._whole_us > WHOLE_US:
                self._forget()
                self._whole_us = now_us
            self._read_points(transaction, now_us)
            self._read_labels(transaction)
            self._read_vms(transaction)
            ready = self._read_ready(transaction, now_us)
            attempts = transaction.runs.live_attempts()
            return Sight(ready, self._facts(transaction, attempts, now_us), attempts)

    def _facts(self, transaction: Transaction, attempts: Sequence[Attempt], now_us: int) -> FleetFacts:
        return FleetFacts(
            now_us=now_us,
            hosts={host.id: host for host in transaction.fleet.hosts(limit=MOST_HOSTS)},
            sessions={session.agent_id: session for session in transaction.fleet.sessions()},
            vms=dict(self._vms),
            live=self._occupied(transaction, attempts),
            caps=Caps.of(transaction.limits.limits()),
            breakers={ScopeKey(each.scope, each.key): each for each in transaction.limits.breakers()},
            objectives_us=objectives_of(transaction.policies.policies()),
            repositories={record.id: record.name for record in transaction.repositories.repositories()},
        )

    def _read_vms(self, transaction: Transaction) -> None:
        for vm, change in transaction.fleet.vms_since(max(self._change - OVERLAP_CHANGES, 0)):
            self._change = max(self._change, change)
            self._tags[vm.id] = vm.tags
            self._vms[vm.id] = self._vm(vm)

    def _vm(self, vm: Vm) -> VmFacts:
        return VmFacts(
            vm.id,
            vm.host_id,
            vm.present,
            storages_of(vm.host_id, vm.disks),
            self._labels_of(vm.id),
            self._newest.get(vm.id, 0),
        )

    def _read_points(self, transaction: Transaction, now_us: int) -> None:
        since_us = max(self._published_us - OVERLAP_US, 0)
        for vm_id, instant_us in transaction.points.newest_since(since_us).items():
            if instant_us > self._newest.get(vm_id, 0):
                self._newest[vm_id] = instant_us
                self._change_vm(vm_id)
        self._published_us = now_us

    def _read_labels(self, transaction: Transaction) -> None:
        groups: dict[str, list[str]] = {}
        for label, vm_id in transaction.limits.apart():
            groups.setdefault(vm_id, []).append(label)
        before, self._labels = self._labels, {vm_id: tuple(labels) for vm_id, labels in groups.items()}
        self._change_vms(vm_id for vm_id, _ in before.items() ^ self._labels.items())

    def _change_vms(self, vm_ids: Iterable[str]) -> None:
        for vm_id in set(vm_ids):
            self._change_vm(vm_id)

    def _change_vm(self, vm_id: str) -> None:
        known = self._vms.get(vm_id)
        if known is not None:
            self._vms[vm_id] = replace(
                known,
                labels=self._labels_of(vm_id),
                newest_us=self._newest.get(vm_id, 0),
            )

    def _labels_of(self, vm_id: str) -> tuple[str, ...]:
        return tuple(sorted({*self._tags.get(vm_id, ()), *self._labels.get(vm_id, ())}))

    def _read_ready(self, transaction: Transaction, now_us: int) -> list[Run]:
        versions = transaction.runs.ready_versions(now_us)
        known = self._runs
        stale = [
            run_id for run_id, version in versions.items() if run_id not in known or known[run_id].version != version
        ]
        fresh = {run.id: run for run in transaction.runs.runs_of(stale)}
        self._runs = {run_id: found for run_id in versions if (found := fresh.get(run_id) or known.get(run_id))}
        return list(self._runs.values())

    def _occupied(self, transaction: Transaction, attempts: Sequence[Attempt]) -> list[Occupied]:
        """Whose VM, tenant and repository a run is never changes: each is read once."""
        unknown = [attempt.run_id for attempt in attempts if attempt.run_id not in self._active]
        found = self._active | {run.id: run for run in transaction.runs.runs_of(unknown)}
        self._active = {attempt.run_id: found[attempt.run_id] for attempt in attempts if attempt.run_id in found}
        return [
            occupied(self._active[attempt.run_id], attempt) for attempt in attempts if attempt.run_id in self._active
        ]


def occupied(run: Run, attempt: Attempt) -> Occupied:
    phase = attempt.lost_from if attempt.state is AttemptState.LOST else attempt.state
    return Occupied(
        attempt.id,
        run.id,
        run.vm_id,
        run.vm_name,
        attempt.host_id,
        run.tenant,
        run.repository_id,
        run.kind is RunKind.RESTORE,
        phase in _PREPARING,
        attempt.created_us,
    )


def objectives_of(policies: Iterable[Policy]) -> dict[str, int]:
    """Policy id -> its RPO, of those that have one."""
    return {policy.id: policy.spec.rpo_seconds * SECOND_US for policy in policies if policy.spec.rpo_seconds}
