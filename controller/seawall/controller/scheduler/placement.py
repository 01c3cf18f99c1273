"""Which READY run starts where, and what each other one waits for. Pure: facts in, plan out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seawall.controller.records.fleet import Host, Session, Vm
from seawall.controller.records.runs import Run, RunKind
from seawall.repository.clock import datetime_of


@dataclass(frozen=True, slots=True)
class Limits:
    """How many attempts may be live at once."""

    per_host: int = 2
    everywhere: int = 64


@dataclass(frozen=True, slots=True)
class FleetFacts:
    """The fleet at one moment. `busy`: live attempts by host, LOST ones too, as their workers may still read."""

    now_us: int
    hosts: Mapping[str, Host]
    sessions: Mapping[str, Session]
    vms: Mapping[str, Vm]
    busy: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Placement:
    run: Run
    host_id: str


@dataclass(frozen=True, slots=True)
class Waiting:
    run: Run
    blocked_on: str


@dataclass(frozen=True, slots=True)
class Plan:
    placements: tuple[Placement, ...]
    waiting: tuple[Waiting, ...]


def plan(ready: Sequence[Run], facts: FleetFacts, limits: Limits) -> Plan:
    """Restores first, then in the order given. Every run is in the plan exactly once."""
    busy = Counter(facts.busy)
    placements: list[Placement] = []
    waiting: list[Waiting] = []
    for run in sorted(ready, key=lambda each: each.kind is not RunKind.RESTORE):
        host_id, blocked_on = _place(run, facts, limits, busy)
        if blocked_on:
            waiting.append(Waiting(run, blocked_on))
        else:
            placements.append(Placement(run, host_id))
            busy[host_id] += 1
    return Plan(tuple(placements), tuple(waiting))


def _place(run: Run, facts: FleetFacts, limits: Limits, busy: Counter[str]) -> tuple[str, str]:
    """(host id, what it waits for or "")."""
    host_id, why_not = _host_of(run, facts)
    host = facts.hosts.get(host_id)
    if why_not or host is None:
        return "", why_not or f"host {host_id} is not enrolled any more"
    why_not = _unreachable(host, facts)
    if why_not:
        return "", why_not
    if busy[host_id] >= limits.per_host:
        return "", f"all {limits.per_host} slots of host {host.name} are taken"
    if busy.total() >= limits.everywhere:
        return "", f"all {limits.everywhere} slots of this controller are taken"
    return host_id, ""


def _host_of(run: Run, facts: FleetFacts) -> tuple[str, str]:
    """Only the host of a VM can read its disks; a restore goes where it was sent."""
    if run.restore is not None:
        return run.restore.host_id, ""
    vm = facts.vms.get(run.vm_id)
    if vm is None:
        return "", f"VM {run.vm_name} is not reported by any host"
    host = facts.hosts.get(vm.host_id)
    if host is not None and _unreachable(host, facts):
        return vm.host_id, ""
    return vm.host_id, "" if vm.present else f"VM {run.vm_name} is not reported by any host"


def _unreachable(host: Host, facts: FleetFacts) -> str:
    if host.revoked:
        return f"host {host.name} is revoked"
    session = facts.sessions.get(host.id)
    if session is None:
        return f"host {host.name} has not connected yet"
    if session.lease_until_us <= facts.now_us:
        return f"host {host.name} is offline since {datetime_of(session.last_seen_us):%Y-%m-%d %H:%M:%S} UTC"
    return ""
