"""READY runs as placement ranks them: where each would run, how urgent it is, and what keeps it from running whatever the limits. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from seawall.controller.admission.facts import DAY_US, FleetFacts
from seawall.controller.admission.gates import BlockedOn
from seawall.controller.records.limits import Measure, Scope, Service
from seawall.controller.records.runs import Run, RunKind
from seawall.repository.clock import datetime_of

NEVER_PROTECTED = float("inf")


class AdmissionClass(IntEnum):
    """Lower ones go first, always."""

    RESTORE = 0
    AD_HOC = 1
    SCHEDULED = 2
    MAINTENANCE = 3


class Candidate(NamedTuple):
    """A READY run that could run. Sorts by urgency: latest first, then who asked first.

    `earliness`: minus the age of the VM's newest point over what the objective of the policy that fired allows.
    """

    earliness: float
    created_us: int
    run_id: str
    admission: AdmissionClass
    tenant: str
    due_us: int
    host_id: str
    vm_id: str
    repository_id: str
    restore: bool


@dataclass(slots=True)
class Ranked:
    """Of one plan: candidates by class and tenant, unsorted; and those that cannot run, whatever is free."""

    able: dict[AdmissionClass, dict[str, list[Candidate]]] = field(default_factory=dict)
    unable: dict[str, BlockedOn] = field(default_factory=dict)


def class_of(run: Run) -> AdmissionClass:
    if run.kind is RunKind.RESTORE:
        return AdmissionClass.RESTORE
    return AdmissionClass.SCHEDULED if run.policy_id else AdmissionClass.AD_HOC


def rank(runs: Iterable[Run], facts: FleetFacts) -> Ranked:
    """Every run once. Runs thousands of times a tick: nothing is looked up twice."""
    unreachable = {host_id: unreachable_host(facts, host_id) for host_id in facts.hosts}
    found = Ranked()
    for run in runs:
        host_id, unable = _host_of(run, facts, unreachable)
        if unable is not None:
            found.unable[run.id] = unable
            continue
        admission = class_of(run)
        candidate = Candidate(
            -_lateness(run, facts),
            run.created_us,
            run.id,
            admission,
            run.tenant,
            run.not_before_us,
            host_id,
            run.vm_id,
            run.repository_id,
            admission is AdmissionClass.RESTORE,
        )
        found.able.setdefault(admission, {}).setdefault(run.tenant, []).append(candidate)
    return found


def _host_of(run: Run, facts: FleetFacts, unreachable: Mapping[str, BlockedOn | None]) -> tuple[str, BlockedOn | None]:
    """Only the host of a VM can read its disks; a restore goes where it was sent."""
    if run.restore is not None:
        host_id, present = run.restore.host_id, True
    else:
        vm = facts.vms.get(run.vm_id)
        host_id, present = (vm.host_id, vm.present) if vm is not None else ("", False)
    why = unreachable.get(host_id)
    if why is None and not present:
        return host_id, blocked(Scope.VM, run.vm_id, f"VM {run.vm_name} is not reported by any host")
    if host_id not in unreachable:
        return host_id, blocked(Scope.HOST, host_id, f"host {host_id} is not enrolled any more")
    return host_id, why


def _lateness(run: Run, facts: FleetFacts) -> float:
    if run.restore is not None:
        return 0.0
    vm = facts.vms.get(run.vm_id)
    if vm is None or not vm.newest_us:
        return NEVER_PROTECTED
    return (facts.now_us - vm.newest_us) / facts.objectives_us.get(run.policy_id, DAY_US)


def unreachable_host(facts: FleetFacts, host_id: str) -> BlockedOn | None:
    host = facts.hosts[host_id]
    why = ""
    session = facts.sessions.get(host.id)
    if host.revoked:
        why = f"host {host.name} is revoked"
    elif session is None:
        why = f"host {host.name} has not connected yet"
    elif session.lease_until_us <= facts.now_us:
        why = f"host {host.name} is offline since {datetime_of(session.last_seen_us):%Y-%m-%d %H:%M:%S} UTC"
    elif host.service is Service.CORDONED:
        why = f"host {host.name} is cordoned (seawall host uncordon {host.name})"
    elif host.service is Service.DRAINING:
        why = f"host {host.name} is being drained (seawall host uncordon {host.name})"
    return blocked(Scope.HOST, host_id, why) if why else None


def blocked(scope: Scope, key: str, sentence: str) -> BlockedOn:
    """By something else than a limit."""
    return BlockedOn(scope, key, Measure.TRANSFERRING, 0, 0, sentence)
