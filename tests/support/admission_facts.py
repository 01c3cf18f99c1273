"""Fleets for tests of admission: a few words make the facts that placement decides on."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from seawall.controller.admission.caps import Caps
from seawall.controller.admission.facts import FleetFacts, NewestUs, Occupied, VmFacts
from seawall.controller.records.fleet import Host, Session
from seawall.controller.records.limits import Breaker, Limit, Measure, Scope, ScopeKey
from seawall.controller.records.runs import Run
from seawall.controller.scheduler.placement import Plan
from support.controller_records import NOW, a_host, a_session

REPOSITORY = "repository"


def vm_facts(vm_id: str = "vm-1", host_id: str = "alpha", **fields: object) -> VmFacts:
    return replace(VmFacts(vm_id, host_id, True), **fields)  # type: ignore[arg-type]


def limit(scope: Scope, value: int, key: str = "", measure: Measure = Measure.TRANSFERRING) -> Limit:
    return Limit(scope, key, measure, value)


def occupied(number: int = 1, host_id: str = "alpha", **fields: object) -> Occupied:
    """A live backup of a VM that nothing else is about."""
    made = Occupied(
        f"attempt-{number}",
        f"run-{number}",
        f"busy-{number}",
        f"busy-{number}",
        host_id,
        "default",
        REPOSITORY,
        restore=False,
        preparing=False,
        created_us=NOW,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def fleet_facts(
    hosts: Iterable[Host] = (a_host(), a_host("beta")),
    sessions: Iterable[Session] = (a_session(), a_session("beta")),
    vms: Iterable[VmFacts] = (vm_facts(),),
    live: Iterable[Occupied] = (),
    limits: Iterable[Limit] = (),
    breakers: Iterable[Breaker] = (),
    now_us: int = NOW,
    objectives_us: Mapping[str, int] | None = None,
    newest_us: NewestUs | None = None,
    publishing: Iterable[tuple[str, str]] = (),
) -> FleetFacts:
    return FleetFacts(
        now_us=now_us,
        hosts={host.id: host for host in hosts},
        sessions={session.agent_id: session for session in sessions},
        vms={vm.id: vm for vm in vms},
        live=tuple(live),
        caps=Caps.of(limits),
        breakers={ScopeKey(each.scope, each.key): each for each in breakers},
        objectives_us=objectives_us or {},
        repositories={REPOSITORY: "main"},
        newest_us=newest_us or {},
        publishing=frozenset(publishing),
    )


def placed(made: Plan) -> list[tuple[str, str]]:
    return [(placement.run.id, placement.host_id) for placement in made.placements]


def sentences(made: Plan, runs: Iterable[Run]) -> list[str]:
    waiting: Mapping[str, object] = made.waiting
    return [made.waiting[run.id].sentence for run in runs if run.id in waiting]
