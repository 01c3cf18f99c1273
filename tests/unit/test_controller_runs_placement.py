"""Where runs start, in which order, and what the others are told that they wait for."""

from collections import Counter
from dataclasses import replace

import pytest

from seawall.controller.admission.breaker import LONGEST_PAUSE_US, probe_us
from seawall.controller.admission.facts import Occupied
from seawall.controller.admission.gates import NOT_OVER, OVERLAPS
from seawall.controller.records.limits import Breaker, Measure, Scope, Service
from seawall.controller.runs import ready
from seawall.controller.runs.events import Moment
from seawall.controller.scheduler.placement import HOLD_AFTER_US, plan
from seawall.controller.timings import Timings
from support.admission_facts import REPOSITORY, fleet_facts, limit, occupied, placed, sentences, vm_facts
from support.controller_records import HOUR, NOW, SECOND, a_host, a_restore, a_run, a_session


def test_a_backup_goes_where_its_vm_was_last_seen() -> None:
    run = a_run()
    assert placed(plan([run], fleet_facts(vms=(vm_facts(host_id="beta"),)))) == [(run.id, "beta")]


def test_a_restore_goes_where_it_was_sent_first_and_into_the_slot_that_is_kept_for_it() -> None:
    backup, restore = a_run(1), a_restore(2, "alpha", vm_id="vm-2")
    made = plan([backup, restore], fleet_facts(live=[occupied(1), occupied(2)]))
    assert placed(made) == [(restore.id, "alpha")]
    assert sentences(made, [backup]) == ["all 2 slots of host alpha are taken (1 more kept for restores)"]


def test_backups_leave_a_tenth_of_all_slots_to_restores() -> None:
    hosts = [a_host(f"h{number}") for number in range(20)]
    vms = [vm_facts(f"vm-{number}", f"h{number}") for number in range(20)]
    runs = [a_run(number, vm_id=f"vm-{number}") for number in range(20)]
    facts = fleet_facts(
        hosts, [a_session(host.id) for host in hosts], vms, limits=[limit(Scope.GLOBAL, 15), limit(Scope.HOST, 1)]
    )
    assert len(plan(runs, facts).placements) == 13
    restores = [a_restore(100 + number, f"h{number}", vm_id=f"other-{number}") for number in range(20)]
    assert len(plan(restores, facts).placements) == 15


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"vms": ()}, "VM db is not reported by any host"),
        ({"vms": (vm_facts(present=False),)}, "VM db is not reported by any host"),
        ({"hosts": ()}, "host alpha is not enrolled any more"),
        ({"hosts": (a_host(revoked=True),)}, "host alpha is revoked"),
        ({"hosts": (a_host(service=Service.CORDONED),)}, "host alpha is cordoned (seawall host uncordon alpha)"),
        ({"hosts": (a_host(service=Service.DRAINING),)}, "host alpha is being drained (seawall host uncordon alpha)"),
        ({"sessions": ()}, "host alpha has not connected yet"),
        ({"sessions": (a_session(lease_until_us=NOW),)}, "host alpha is offline"),
        ({"live": [occupied(vm_id="vm-1")]}, "another run of this VM is active on its host"),
        (
            {"live": [occupied(1), occupied(2)]},
            "all 2 slots of host alpha are taken (1 more kept for restores)",
        ),
        (
            {"live": [occupied(number, "beta") for number in range(57)]},
            "all 57 slots of this controller are taken (7 more kept for restores)",
        ),
        (
            {
                "live": [occupied(host_id="beta", preparing=True)],
                "limits": [limit(Scope.GLOBAL, 1, measure=Measure.PREPARING)],
            },
            "this controller prepares 1 at once, its limit",
        ),
        (
            {"live": [occupied(host_id="beta")], "limits": [limit(Scope.TENANT, 1)]},
            "all 1 slots of tenant default are taken",
        ),
        (
            {"live": [occupied(host_id="beta")], "limits": [limit(Scope.REPOSITORY, 1, REPOSITORY)]},
            "all 1 slots of repository main are taken",
        ),
        (
            {
                "hosts": (a_host(site="north"), a_host("beta", site="north")),
                "live": [occupied(host_id="beta")],
                "limits": [limit(Scope.SITE, 1, "north")],
            },
            "all 1 slots of site north are taken",
        ),
        (
            {
                "vms": (vm_facts(storages=("alpha:/pool",)), vm_facts("busy-1", storages=("alpha:/pool",))),
                "live": [occupied()],
                "limits": [limit(Scope.STORAGE, 1)],
            },
            "all 1 slots of storage alpha:/pool are taken",
        ),
        (
            {
                "vms": (vm_facts(labels=("galera",)), vm_facts("busy-1", "beta", labels=("galera",))),
                "live": [occupied(host_id="beta")],
                "limits": [limit(Scope.LABEL, 1, "galera")],
            },
            "all 1 slots of group galera are taken",
        ),
    ],
)
def test_who_waits_is_told_for_what(changed: dict[str, object], sentence: str) -> None:
    run = a_run()
    made = plan([run], fleet_facts(**changed))  # type: ignore[arg-type]
    assert made.placements == ()
    assert sentences(made, [run]) == [sentence]


def test_an_offline_host_is_the_reason_even_if_its_vm_is_gone() -> None:
    offline = fleet_facts(sessions=(a_session(lease_until_us=NOW - SECOND),), vms=(vm_facts(present=False),))
    assert "offline" in sentences(plan([a_run()], offline), [a_run()])[0]


def test_what_is_placed_in_one_plan_counts_in_it() -> None:
    runs = [a_run(number, vm_id=f"vm-{number}") for number in range(1, 8)]
    vms = tuple(vm_facts(f"vm-{number}", "alpha" if number < 5 else "beta") for number in range(1, 8))
    made = plan(runs, fleet_facts(vms=vms, limits=[limit(Scope.HOST, 4), limit(Scope.GLOBAL, 6)]))
    assert placed(made) == [(runs[number].id, host) for number, host in enumerate(["alpha"] * 3)] + [
        (runs[4].id, "beta"),
        (runs[5].id, "beta"),
    ]
    assert set(made.waiting) == {runs[3].id, runs[6].id}


def test_a_limit_of_one_thing_outweighs_that_of_its_kind() -> None:
    runs = [a_run(number, vm_id=f"vm-{number}") for number in range(1, 7)]
    vms = [vm_facts(f"vm-{number}", "alpha" if number < 4 else "beta") for number in range(1, 7)]
    made = plan(runs, fleet_facts(vms=vms, limits=[limit(Scope.HOST, 2), limit(Scope.HOST, 4, "beta")]))
    assert [host for _, host in placed(made)] == ["alpha", "beta", "beta", "beta"]


def test_the_latest_for_its_objective_goes_first_and_the_unprotected_before_all() -> None:
    hours = {"weekly": 100, "hourly": 2, "daily": 30}
    vms = [vm_facts(name) for name in (*hours, "never")]
    runs = [a_run(number, vm_id=vm.id, policy_id=vm.id) for number, vm in enumerate(vms)]
    objectives = {"weekly": 168 * HOUR, "hourly": HOUR}
    newest_us = {name: {name: NOW - age * HOUR} for name, age in hours.items()}
    facts = fleet_facts(vms=vms, limits=[limit(Scope.HOST, 9)], objectives_us=objectives, newest_us=newest_us)
    made = plan(runs, facts)
    assert [placement.run.vm_id for placement in made.placements] == ["never", "hourly", "daily", "weekly"]


def test_a_policys_run_is_as_late_as_its_own_points_are_old() -> None:
    """vm-1 has a fresh point, but of another policy; what somebody orders looks at the newest of all."""
    newest_us = {"offsite": {"vm-1": NOW - 240 * HOUR, "vm-2": NOW - 20 * HOUR}, "hourly": {"vm-1": NOW - SECOND}}
    vms, limits = [vm_facts("vm-1"), vm_facts("vm-2")], [limit(Scope.HOST, 1)]
    facts = fleet_facts(vms=vms, limits=limits, newest_us=newest_us)
    fired = [a_run(number, vm_id=f"vm-{number}", policy_id="offsite", created_us=NOW - number) for number in (1, 2)]
    assert placed(plan(fired, facts)) == [(fired[0].id, "alpha")]
    ordered = [replace(run, policy_id="") for run in fired]
    assert placed(plan(ordered, facts)) == [(ordered[1].id, "alpha")]


def test_backups_of_a_vm_into_one_repository_begin_one_after_the_other() -> None:
    """Of two policies, say; on whatever host the first one runs, and while its point waits for the store."""
    first, second = a_run(1, policy_id="hourly"), a_run(2, policy_id="nightly")
    elsewhere = a_run(3, policy_id="offsite", repository_id="other")
    limits = [limit(Scope.HOST, 9)]
    made = plan([first, second, elsewhere], fleet_facts(limits=limits))
    assert placed(made) == [(first.id, "alpha")]
    assert sentences(made, [second, elsewhere]) == [OVERLAPS, OVERLAPS]
    for busy in ({"live": [occupied(vm_id="vm-1", host_id="beta")]}, {"publishing": [("vm-1", REPOSITORY)]}):
        facts = fleet_facts(limits=limits, **busy)
        made = plan([second, elsewhere], facts)
        assert placed(made) == [(elsewhere.id, "alpha")]
        assert sentences(made, [second]) == [NOT_OVER]
        assert placed(plan([a_restore(4, "alpha")], facts))


def test_what_somebody_asked_for_goes_before_what_a_policy_fired() -> None:
    fired, asked = a_run(1, policy_id="nightly"), a_run(2, vm_id="vm-2")
    vms = [vm_facts(), vm_facts("vm-2")]
    newest_us = {"nightly": {"vm-2": NOW}}
    made = plan([fired, asked], fleet_facts(vms=vms, limits=[limit(Scope.HOST, 2)], newest_us=newest_us))
    assert [placement.run for placement in made.placements] == [asked]


def test_tenants_share_by_weight_and_what_they_hold_counts() -> None:
    runs = [a_run(number, vm_id=f"vm-{number}", tenant="large" if number < 20 else "small") for number in range(1, 40)]
    vms = [vm_facts(f"vm-{number}") for number in range(1, 40)]
    limits = [limit(Scope.HOST, 13), limit(Scope.TENANT, 3, "large", Measure.WEIGHT)]
    made = plan(runs, fleet_facts(vms=vms, limits=limits))
    tenants = [placement.run.tenant for placement in made.placements]
    assert (tenants.count("large"), tenants.count("small")) == (9, 3)
    holding = [occupied(number, tenant="small") for number in range(6)]
    made = plan(runs, fleet_facts(vms=vms, live=holding, limits=limits))
    assert {placement.run.tenant for placement in made.placements} == {"large"}


def test_a_run_that_needs_two_scarce_things_keeps_its_place_after_a_while() -> None:
    """One of its storages is always taken by others: without keeping a place in both it would wait for ever."""
    both = vm_facts("both", storages=("s1", "s2"))
    vms = [both, vm_facts("one", storages=("s1",)), vm_facts("busy-1", storages=("s2",))]
    newest_us = {"": {"both": NOW - HOUR, "one": NOW}}
    runs = [a_run(1, vm_id="both", not_before_us=NOW - HOLD_AFTER_US), a_run(2, vm_id="one")]
    limits = [limit(Scope.STORAGE, 1), limit(Scope.HOST, 9)]
    facts = fleet_facts(vms=vms, live=[occupied(1)], limits=limits, newest_us=newest_us)
    made = plan(runs, facts)
    assert placed(made) == []
    assert sentences(made, runs) == [
        "all 1 slots of storage s2 are taken",
        "the next slot of storage s1 is kept for a run that has waited longer",
    ]
    patient = [a_run(1, vm_id="both"), runs[1]]
    assert placed(plan(patient, facts)) == [(runs[1].id, "alpha")]


def test_a_breaker_keeps_runs_until_one_may_try() -> None:
    broken = Breaker(Scope.HOST, "alpha", 5, NOW, "WORKER_EXITED", "killed")
    runs = [a_run(1), a_run(2, vm_id="vm-2")]
    vms = [vm_facts(), vm_facts("vm-2")]
    made = plan(runs, fleet_facts(vms=vms, breakers=[broken]))
    assert placed(made) == []
    assert sentences(made, runs)[0] == (
        "5 attempts on host alpha failed in a row (WORKER_EXITED: killed); the next one is tried at 08:01:00 UTC"
    )
    later = probe_us(broken)
    live_session = a_session(lease_until_us=later + HOUR)
    half_open = fleet_facts(sessions=[live_session], vms=vms, breakers=[broken], now_us=later)
    assert placed(plan(runs, half_open)) == [(runs[0].id, "alpha")]
    probing = fleet_facts(
        sessions=[live_session], vms=vms, breakers=[broken], now_us=later, live=[occupied(created_us=later)]
    )
    assert placed(plan(runs, probing)) == []


def test_who_waits_for_a_breaker_keeps_no_place_that_others_could_have() -> None:
    """A store that is away for a day: the host's only slot is for the backups into the other one meanwhile."""
    store = Breaker(Scope.REPOSITORY, REPOSITORY, 9, NOW, "STORE_UNAVAILABLE", "no route")
    long_ago = NOW - HOLD_AFTER_US - HOUR
    runs = [a_run(1, not_before_us=long_ago, created_us=long_ago), a_run(2, vm_id="vm-2", repository_id="other")]
    vms, newest_us = [vm_facts(), vm_facts("vm-2")], {"": {"vm-2": NOW}}
    made = plan(runs, fleet_facts(vms=vms, breakers=[store], limits=[limit(Scope.HOST, 1)], newest_us=newest_us))
    assert placed(made) == [(runs[1].id, "alpha")]


def test_a_restore_passes_a_hosts_breaker_and_waits_for_the_repositorys() -> None:
    restore = a_restore(1, "alpha")
    host = Breaker(Scope.HOST, "alpha", 9, NOW, "WORKER_EXITED", "killed")
    store = Breaker(Scope.REPOSITORY, REPOSITORY, 9, NOW, "STORE_UNAVAILABLE", "no route")
    assert placed(plan([restore], fleet_facts(breakers=[host]))) == [(restore.id, "alpha")]
    assert "repository main" in sentences(plan([restore], fleet_facts(breakers=[host, store])), [restore])[0]


def test_one_restore_passes_a_half_open_breaker_beside_the_probe() -> None:
    """The store is tried already, and somebody waits: the most urgent backup may take all night."""
    broken = Breaker(Scope.REPOSITORY, REPOSITORY, 5, NOW - HOUR, "STORE_UNAVAILABLE", "away")
    probe, beside = occupied(1, "beta"), occupied(2, "beta", restore=True)
    runs = [a_run(1), a_restore(2, "alpha", vm_id="r-2"), a_restore(3, "alpha", vm_id="r-3")]
    half_open = fleet_facts(live=[probe], breakers=[broken])
    made = plan(runs, half_open)
    assert placed(made) == [(runs[1].id, "alpha")]
    assert {(why.used, why.cap) for why in made.waiting.values()} == {(1, 1)}
    assert placed(plan(runs, replace(half_open, live=(probe, beside)))) == []
    still_open = fleet_facts(breakers=[replace(broken, last_us=NOW - SECOND)])
    assert placed(plan(runs, still_open)) == []
    # A full store is read all the same: restores, however many come, keep no backup from trying it.
    assert placed(plan(runs, replace(half_open, live=(beside,)))) == [(runs[0].id, "alpha")]


def test_a_probe_of_which_nothing_is_heard_holds_the_others_up_for_one_pause_and_not_until_its_end() -> None:
    """It reads a disk of terabytes, say, of which nothing is new: it shows nothing of the store for hours."""
    broken = Breaker(Scope.REPOSITORY, REPOSITORY, 5, NOW - 6 * HOUR, "STORE_UNAVAILABLE", "away")
    run, begun_us = a_run(1), NOW - LONGEST_PAUSE_US
    probing = fleet_facts(live=[occupied(1, "beta", created_us=begun_us + SECOND)], breakers=[broken])
    assert placed(plan([run], probing)) == []
    silent = fleet_facts(live=[occupied(1, "beta", created_us=begun_us)], breakers=[broken])
    assert placed(plan([run, a_run(2, vm_id="vm-2")], silent)) == [(run.id, "alpha")]


def test_a_breaker_of_a_clock_that_was_ahead_lets_one_try_and_not_all() -> None:
    ahead = Breaker(Scope.REPOSITORY, REPOSITORY, 5, NOW + 365 * 24 * HOUR, "STORE_UNAVAILABLE", "away")
    assert placed(plan([a_run(1)], fleet_facts(breakers=[ahead]))) == [(a_run(1).id, "alpha")]
    assert placed(plan([a_run(1)], fleet_facts(live=[occupied(1, "beta")], breakers=[ahead]))) == []


def test_restores_of_two_tenants_take_turns_and_their_backups_count_for_nothing() -> None:
    hosts = [a_host(f"h{number}") for number in range(10)]
    sessions = [a_session(host.id) for host in hosts]
    tenants = ["acme"] * 20 + ["bank"] * 20
    runs = [
        a_restore(number, f"h{number % 10}", vm_id=f"r-{number}", tenant=tenant)
        for number, tenant in enumerate(tenants, 1)
    ]

    def got(*live: Occupied) -> Counter[str]:
        made = plan(runs, fleet_facts(hosts, sessions, [], live, limits=[limit(Scope.GLOBAL, 10)]))
        return Counter(placement.run.tenant for placement in made.placements)

    assert got() == {"acme": 5, "bank": 5}
    restoring = [occupied(number, f"h{number}", tenant="acme", restore=True) for number in range(4)]
    assert got(*restoring) == {"acme": 1, "bank": 5}
    backing_up = [occupied(number, f"h{number}", tenant="bank") for number in range(4)]
    assert got(*backing_up) == {"acme": 3, "bank": 3}


def test_what_somebody_asks_for_goes_before_what_policies_fired_though_one_of_them_made_it() -> None:
    fired = [a_run(number, vm_id=f"vm-{number}", policy_id="policy", nominal_us=NOW) for number in (1, 2, 3)]
    asked = ready.brought_forward(fired[2], Moment(NOW, Timings()))
    facts = fleet_facts(vms=[vm_facts(f"vm-{number}") for number in (1, 2, 3)], limits=[limit(Scope.HOST, 1)])
    assert placed(plan(fired, facts)) == [(fired[0].id, "alpha")]
    assert placed(plan([*fired[:2], asked], facts)) == [(asked.id, "alpha")]
