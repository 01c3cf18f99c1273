"""The fleet in memory, brought up to date by what changed since the last look: a tick's cost is what is new, not what there is.

A cache of the database: it starts empty, is never written back, and every placement is checked again in the transaction that makes it. What
is kept is checked at each look: runs and live attempts by their versions, all of them; VMs by the number that grows with what is seen here;
points by when they were published or given up. Hosts, sessions, limits, breakers and policies are read anew. After ten minutes
everything is.
"""

import threading
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from seawall.controller.admission.candidates import Candidate, candidate_of
from seawall.controller.admission.caps import Caps
from seawall.controller.admission.facts import FleetFacts, NewestUs, Occupied, VmFacts
from seawall.controller.admission.lines import Lines
from seawall.controller.admission.storage import storages_of
from seawall.controller.records.fleet import Vm
from seawall.controller.records.limits import ScopeKey
from seawall.controller.records.policies import Policy
from seawall.controller.records.runs import Attempt, AttemptState, Run, RunKind
from seawall.controller.store.transaction import Transaction
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
    """`ready`: READY runs that are due or past their deadline; `lines`: the same, as placement tries them. `attempts`: the live ones.

    `windowed`: policies with windows, also deleted ones, whose runs keep to them. `next_due_us`: when the next READY run will be due; 0:
    none waits for its time.
    """

    ready: Sequence[Run]
    lines: Lines
    facts: FleetFacts
    attempts: Sequence[Attempt]
    windowed: Sequence[Policy]
    next_due_us: int = 0


class FleetMirror:
    """Of one process. Thread-safe: each look takes its turn."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._vms: dict[str, VmFacts] = {}
        self._texts: dict[str, str] = {}
        self._changes: dict[str, int] = {}
        self._versions: Mapping[str, int] = {}
        self._ready_mark: Hashable = None
        self._runs: dict[str, Run] = {}
        self._candidates: dict[str, Candidate] = {}
        self._lines = Lines()
        self._moved: set[str] = set()
        self._unordered = False
        self._objectives: Mapping[str, int] = {}
        self._attempts: dict[str, Attempt] = {}
        self._active: dict[str, Run] = {}
        self._newest: NewestUs = {}
        """Never changed, only replaced: facts that were given out keep theirs."""
        self._labels: dict[str, tuple[str, ...]] = {}
        self._tags: dict[str, tuple[str, ...]] = {}
        self._change = 0
        self._points_us = 0
        self._whole_us = 0

    def look(self, transaction: Transaction, now_us: int) -> Sight:
        with self._lock:
            try:
                return self._looked(transaction, now_us)
            except BaseException:
                self._forget()  # half of a look is none
                raise

    def _looked(self, transaction: Transaction, now_us: int) -> Sight:
        if not self._whole_us or not self._whole_us <= now_us <= self._whole_us + WHOLE_US:
            self._forget()
            self._whole_us = now_us
        self._read_points(transaction, now_us)
        self._read_labels(transaction)
        self._read_vms(transaction)
        self._read_ready(transaction, now_us)
        attempts = self._read_attempts(transaction)
        policies = transaction.policies.policies(deleted=True)
        facts = self._facts(transaction, attempts, objectives_of(policies), now_us)
        self._line_up(facts.objectives_us)
        windowed = [policy for policy in policies if policy.spec.windows]
        due_us = transaction.runs.next_due_us(now_us)
        return Sight(tuple(self._runs.values()), self._lines, facts, attempts, windowed, due_us)

    def _facts(
        self, transaction: Transaction, attempts: Sequence[Attempt], objectives_us: Mapping[str, int], now_us: int
    ) -> FleetFacts:
        live, publishing = self._occupied(transaction, attempts)
        return FleetFacts(
            now_us=now_us,
            hosts={host.id: host for host in transaction.fleet.hosts(limit=MOST_HOSTS)},
            sessions={session.agent_id: session for session in transaction.fleet.sessions()},
            vms=dict(self._vms),
            live=live,
            caps=Caps.of(transaction.limits.limits()),
            breakers={ScopeKey(each.scope, each.key): each for each in transaction.limits.breakers()},
            objectives_us=objectives_us,
            repositories={record.id: record.name for record in transaction.repositories.repositories()},
            newest_us=self._newest,
            publishing=publishing,
        )

    def _read_vms(self, transaction: Transaction) -> None:
        changes = transaction.fleet.vm_changes(max(self._change - OVERLAP_CHANGES, 0))
        stale = [vm_id for vm_id, change in changes.items() if self._changes.get(vm_id) != change]
        for vm in transaction.fleet.vms_of(stale):
            if vm.tags or vm.id in self._tags:
                self._tags[vm.id] = vm.tags
            self._vms[vm.id] = self._vm(vm)
            self._moved.add(vm.id)
        self._changes |= changes
        self._change = max(self._change, *changes.values()) if changes else self._change

    def _vm(self, vm: Vm) -> VmFacts:
        return VmFacts(
            vm.id,
            self._same(vm.host_id),
            vm.present,
            tuple(self._same(each) for each in storages_of(vm.host_id, vm.disks)),
            self._labels_of(vm.id),
        )

    def _same(self, text: str) -> str:
        """The text as it is kept once: twenty VMs of a host name it, and its pools."""
        return self._texts.setdefault(text, text)

    def _read_points(self, transaction: Transaction, now_us: int) -> None:
        since_us = max(self._points_us - OVERLAP_US, 0)
        for policy_id, come in transaction.points.newest_since(since_us).items():
            known = self._newest.get(policy_id, {})
            self._age(policy_id, {vm_id: at_us for vm_id, at_us in come.items() if at_us > known.get(vm_id, 0)})
        if self._points_us:
            self._read_given_up(transaction, since_us)
        self._points_us = now_us

    def _read_given_up(self, transaction: Transaction, since_us: int) -> None:
        """Where the newest of a policy is among them, which is rare, the next older one counts."""
        for policy_id, gone in transaction.points.given_up_since(since_us).items():
            known = self._newest.get(policy_id, {})
            doubtful = [vm_id for vm_id, at_us in gone.items() if 0 < known.get(vm_id, 0) <= at_us]
            left = transaction.points.newest_of_policy(policy_id, doubtful) if doubtful else {}
            # Looked at again for as long as looks overlap.
            self._age(policy_id, {each: at for each in doubtful if (at := left.get(each, 0)) != known.get(each, 0)})

    def _age(self, policy_id: str, at_us: Mapping[str, int]) -> None:
        """How old the newest points of these VMs are now; 0: there is none."""
        if at_us:
            after = {vm_id: each for vm_id, each in {**self._newest.get(policy_id, {}), **at_us}.items() if each}
            others = {each: known for each, known in self._newest.items() if each != policy_id}
            self._newest = others | ({policy_id: after} if after else {})
            self._moved |= at_us.keys()

    def _read_labels(self, transaction: Transaction) -> None:
        groups: dict[str, list[str]] = {}
        for label, vm_id in transaction.limits.apart():
            groups.setdefault(vm_id, []).append(label)
        before, self._labels = self._labels, {vm_id: tuple(labels) for vm_id, labels in groups.items()}
        for vm_id in {vm_id for vm_id, _ in before.items() ^ self._labels.items()}:
            self._change_vm(vm_id)

    def _change_vm(self, vm_id: str) -> None:
        known = self._vms.get(vm_id)
        if known is not None:
            self._moved.add(vm_id)
            self._vms[vm_id] = replace(known, labels=self._labels_of(vm_id))

    def _labels_of(self, vm_id: str) -> tuple[str, ...]:
        return tuple(sorted({*self._tags.get(vm_id, ()), *self._labels.get(vm_id, ())}))

    def _read_ready(self, transaction: Transaction, now_us: int) -> None:
        mark = transaction.runs.ready_mark(now_us)
        if mark == self._ready_mark:
            return
        versions = transaction.runs.ready_versions(now_us)
        stale = [run_id for run_id, version in versions.items() if self._versions.get(run_id) != version]
        for run_id in self._runs.keys() - versions.keys():
            del self._runs[run_id]
        self._runs |= {run.id: run for run in transaction.runs.runs_of(stale)}
        self._versions, self._ready_mark, self._unordered = versions, mark, True

    def _line_up(self, objectives_us: Mapping[str, int]) -> None:
        """Runs that came, went or changed, and those whose VM did, to their places."""
        if objectives_us != self._objectives:
            self._objectives, self._lines, self._candidates = objectives_us, Lines(), {}
        elif not self._unordered and not self._moved:
            return
        gone = [known for run_id, known in self._candidates.items() if self._runs.get(run_id) is not known.run]
        moved, self._moved = self._moved, set()
        if moved:
            gone += [known for known in self._candidates.values() if known.vm_id in moved]
        for each in gone:
            self._candidates.pop(each.run_id, None)
        missing = [run for run_id, run in self._runs.items() if run_id not in self._candidates]
        come = {run.id: candidate_of(run, self._vms, self._newest, objectives_us) for run in missing}
        self._candidates |= come
        self._lines, self._unordered = self._lines.changed(gone, come.values()), False

    def _read_attempts(self, transaction: Transaction) -> Sequence[Attempt]:
        known, versions = self._attempts, transaction.runs.live_versions()
        stale = [each for each, version in versions.items() if each not in known or known[each].version != version]
        fresh = {attempt.id: attempt for attempt in transaction.runs.attempts_by_id(stale)}
        self._attempts = {each: found for each in versions if (found := fresh.get(each) or known.get(each))}
        return tuple(self._attempts.values())

    def _occupied(
        self, transaction: Transaction, attempts: Sequence[Attempt]
    ) -> tuple[list[Occupied], frozenset[tuple[str, str]]]:
        """`live` and `publishing` of the facts. Whose VM, tenant and repository a run is never changes: each is read once."""
        unknown = [attempt.run_id for attempt in attempts if attempt.run_id not in self._active]
        found = self._active | {run.id: run for run in transaction.runs.runs_of(unknown)}
        self._active = {attempt.run_id: found[attempt.run_id] for attempt in attempts if attempt.run_id in found}
        known = [(self._active[attempt.run_id], attempt) for attempt in attempts if attempt.run_id in self._active]
        live = [occupied(run, attempt) for run, attempt in known if not attempt.handed_over]
        return live, frozenset((run.vm_id, run.repository_id) for run, attempt in known if attempt.handed_over)


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
    """Policy id -> its RPO, of those that have one and are not deleted."""
    kept = (policy for policy in policies if not policy.deleted_us)
    return {policy.id: policy.spec.rpo_seconds * SECOND_US for policy in kept if policy.spec.rpo_seconds}
