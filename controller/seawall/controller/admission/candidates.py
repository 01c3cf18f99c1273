"""READY runs as placement ranks them: where each would run, how urgent it is, and what keeps it from running whatever the limits. Pure."""

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from seawall.controller.admission.facts import DAY_US, FleetFacts, NewestUs, VmFacts
from seawall.controller.admission.gates import BlockedOn
from seawall.controller.records.limits import Measure, Scope, Service
from seawall.controller.records.runs import Run, RunKind
from seawall.controller.runs.ready import by_policy_alone

NEVER_PROTECTED = float("inf")


class AdmissionClass(IntEnum):
    """Lower ones go first, always. AD_HOC: what an operator asked for, also of runs that a policy had made already."""

    RESTORE = 0
    AD_HOC = 1
    SCHEDULED = 2


class Candidate(NamedTuple):
    """A READY run. Of those with one objective it sorts by urgency at any time: oldest newest point first, then who asked first.

    `newest_us`: the instant of the newest point that its policy has of the VM, as another one's says nothing of what this one promises;
    of what somebody ordered, of the newest anywhere. 0 where there is none, and for restores. `present` False: no host reports its VM,
    and `host_id` may be "".
    """

    newest_us: int
    created_us: int
    run_id: str
    run: Run
    admission: AdmissionClass
    objective_us: int
    tenant: str
    due_us: int
    host_id: str
    vm_id: str
    repository_id: str
    restore: bool
    present: bool

    def lateness(self, now_us: int) -> float:
        """Age of the newest point over what the objective allows; a restore's is 0."""
        if self.restore:
            return 0.0
        return (now_us - self.newest_us) / self.objective_us if self.newest_us else NEVER_PROTECTED

    def urgency(self, now_us: int) -> tuple[float, int, str]:
        """Of the same class and tenant the least goes first."""
        return -self.lateness(now_us), self.created_us, self.run_id


def class_of(run: Run) -> AdmissionClass:
    if run.kind is RunKind.RESTORE:
        return AdmissionClass.RESTORE
    return AdmissionClass.SCHEDULED if by_policy_alone(run) else AdmissionClass.AD_HOC


def candidate_of(
    run: Run, vms: Mapping[str, VmFacts], newest_us: NewestUs, objectives_us: Mapping[str, int]
) -> Candidate:
    """Only the host of a VM can read its disks; a restore goes where it was sent. Nothing here depends on the time."""
    admission = class_of(run)
    if run.restore is not None:
        host_id, present, last_us, objective_us = run.restore.host_id, True, 0, DAY_US
    else:
        vm = vms.get(run.vm_id)
        host_id, present = (vm.host_id, vm.present) if vm is not None else ("", False)
        last_us, objective_us = _newest_of(run, newest_us), objectives_us.get(run.policy_id, DAY_US)
    return Candidate(
        last_us,
        run.created_us,
        run.id,
        run,
        admission,
        objective_us,
        run.tenant,
        run.not_before_us,
        host_id,
        run.vm_id,
        run.repository_id,
        admission is AdmissionClass.RESTORE,
        present,
    )


def _newest_of(run: Run, newest_us: NewestUs) -> int:
    if run.policy_id:
        return newest_us.get(run.policy_id, {}).get(run.vm_id, 0)
    return max((of_policy.get(run.vm_id, 0) for of_policy in newest_us.values()), default=0)


def unable(candidate: Candidate, facts: FleetFacts, unreachable: Mapping[str, BlockedOn]) -> BlockedOn:
    """Why it cannot run, whatever is free. For those of which `present` is False or the host is not among the reachable ones."""
    why = unreachable.get(candidate.host_id)
    if why is not None:
        return why
    if not candidate.present:
        return blocked(Scope.VM, candidate.vm_id, f"VM {candidate.run.vm_name} is not reported by any host")
    return blocked(Scope.HOST, candidate.host_id, f"host {candidate.host_id} is not enrolled any more")


def unreachable_host(facts: FleetFacts, host_id: str) -> BlockedOn | None:
    host = facts.hosts[host_id]
    why = ""
    session = facts.sessions.get(host.id)
    if host.revoked:
        why = f"host {host.name} is revoked"
    elif session is None:
        why = f"host {host.name} has not connected yet"
    elif session.lease_until_us <= facts.now_us:
        why = f"host {host.name} is offline"
    elif host.service is Service.CORDONED:
        why = f"host {host.name} is cordoned (seawall host uncordon {host.name})"
    elif host.service is Service.DRAINING:
        why = f"host {host.name} is being drained (seawall host uncordon {host.name})"
    return blocked(Scope.HOST, host_id, why) if why else None


def blocked(scope: Scope, key: str, sentence: str) -> BlockedOn:
    """By something else than a limit."""
    return BlockedOn(scope, key, Measure.TRANSFERRING, 0, 0, sentence)
