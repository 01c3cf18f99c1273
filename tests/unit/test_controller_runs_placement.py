"""Where runs start, and what the others are told that they wait for."""

from dataclasses import replace

import pytest

from seawall.controller.records.fleet import Host, Session, Vm
from seawall.controller.scheduler.placement import FleetFacts, Limits, Plan, plan
from support.controller_records import NOW, SECOND, a_host, a_restore, a_run, a_session, a_vm


def facts(
    hosts: tuple[Host, ...] = (a_host(), a_host("beta")),
    sessions: tuple[Session, ...] = (a_session(), a_session("beta")),
    vms: tuple[Vm, ...] = (a_vm(),),
    busy: dict[str, int] | None = None,
) -> FleetFacts:
    return FleetFacts(
        NOW,
        {host.id: host for host in hosts},
        {session.agent_id: session for session in sessions},
        {vm.id: vm for vm in vms},
        busy or {},
    )


def placed(made: Plan) -> list[tuple[str, str]]:
    return [(placement.run.id, placement.host_id) for placement in made.placements]


def test_a_backup_goes_where_its_vm_was_last_seen() -> None:
    run = a_run()
    assert placed(plan([run], facts(vms=(a_vm(host_id="beta"),)), Limits())) == [(run.id, "beta")]


def test_a_restore_goes_where_it_was_sent_and_first() -> None:
    backup, restore = a_run(1), a_restore(2, "alpha")
    made = plan([backup, restore], facts(busy={"alpha": 1}), Limits(per_host=2))
    assert placed(made) == [(restore.id, "alpha")]
    assert made.waiting[0].blocked_on == "all 2 slots of host alpha are taken"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"vms": ()}, "VM db is not reported by any host"),
        ({"vms": (a_vm(present=False),)}, "VM db is not reported by any host"),
        ({"hosts": ()}, "host alpha is not enrolled any more"),
        ({"hosts": (a_host(revoked=True),)}, "host alpha is revoked"),
        ({"sessions": ()}, "host alpha has not connected yet"),
        ({"sessions": (a_session(lease_until_us=NOW),)}, "host alpha is offline since 2027-01-15 08:00:00 UTC"),
        ({"busy": {"alpha": 2}}, "all 2 slots of host alpha are taken"),
        ({"busy": {"beta": 64}}, "all 64 slots of this controller are taken"),
    ],
)
def test_who_waits_is_told_for_what(changed: dict[str, object], sentence: str) -> None:
    made = plan([a_run()], facts(**changed), Limits())  # type: ignore[arg-type]
    assert made.placements == ()
    assert [waiting.blocked_on for waiting in made.waiting] == [sentence]


def test_an_offline_host_is_the_reason_even_if_its_vm_is_gone() -> None:
    offline = facts(sessions=(a_session(lease_until_us=NOW - SECOND),), vms=(a_vm(present=False),))
    assert "offline" in plan([a_run()], offline, Limits()).waiting[0].blocked_on


def test_what_is_placed_in_one_plan_counts_in_it() -> None:
    runs = [a_run(number, vm_id=f"vm-{number}") for number in range(1, 8)]
    vms = tuple(a_vm(f"vm-{number}", "alpha" if number < 5 else "beta") for number in range(1, 8))
    made = plan(runs, facts(vms=vms), Limits(per_host=3, everywhere=5))
    assert placed(made) == [(runs[number].id, host) for number, host in enumerate(["alpha"] * 3)] + [
        (runs[4].id, "beta"),
        (runs[5].id, "beta"),
    ]
    assert len(made.placements) + len(made.waiting) == 7
    assert made.waiting[0].run == runs[3]
    assert replace(made, waiting=()).waiting == ()
