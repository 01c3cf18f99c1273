"""What placement promises, over random fleets: limits, classes, reservation, fairness, and that everybody's turn comes."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.controller.admission.candidates import class_of
from seawall.controller.admission.caps import reserved
from seawall.controller.admission.facts import FleetFacts, Occupied, VmFacts
from seawall.controller.admission.scopes import GLOBAL, scopes_of_live
from seawall.controller.records.limits import Limit, Measure, Scope, ScopeKey
from seawall.controller.records.runs import Run, RunKind
from seawall.controller.scheduler.placement import HOLD_AFTER_US, Plan, plan
from support.admission_facts import REPOSITORY, fleet_facts, limit
from support.controller_records import HOUR, NOW, SECOND, a_host, a_restore, a_run, a_session

HOSTS = ("h0", "h1", "h2")
STORAGES = ("s0", "s1")
TENANTS = ("red", "green", "blue")
LABELS = ("pair",)
SCOPES = (Scope.GLOBAL, Scope.HOST, Scope.STORAGE, Scope.TENANT, Scope.REPOSITORY, Scope.SITE, Scope.LABEL)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Run], FleetFacts]:
    """A few hosts, VMs, limits and live attempts that keep them, and runs that are due."""
    limits = [
        Limit(scope, "", measure, draw(st.integers(1, 5)))
        for scope in SCOPES
        for measure in (Measure.PREPARING, Measure.TRANSFERRING)
        if draw(st.booleans())
    ]
    some = st.lists(st.sampled_from(STORAGES), max_size=2, unique=True).map(lambda found: tuple(sorted(found)))
    vms = [
        VmFacts(
            f"vm-{number}",
            draw(st.sampled_from(HOSTS)),
            draw(st.integers(0, 9)) > 0,
            draw(some),
            draw(st.sampled_from(((), LABELS))),
        )
        for number in range(12)
    ]
    newest_us = {
        policy_id: {vm.id: draw(st.sampled_from((NOW - HOUR, NOW - 50 * HOUR))) for vm in vms if draw(st.booleans())}
        for policy_id in ("", "p")
    }
    runs = [
        a_restore(number, draw(st.sampled_from(HOSTS)), vm_id=f"r-{number}")
        if draw(st.integers(0, 5)) == 0
        else a_run(number, vm_id=f"vm-{number}", policy_id=draw(st.sampled_from(("", "p"))))
        for number in range(draw(st.integers(0, 12)))
    ]
    runs = [replace(run, tenant=draw(st.sampled_from(TENANTS)), repository_id=REPOSITORY) for run in runs]
    hosts = [a_host(name, site=draw(st.sampled_from(("", "north")))) for name in HOSTS]
    return runs, fleet_facts(hosts, [a_session(name) for name in HOSTS], vms, limits=limits, newest_us=newest_us)


def begun(facts: FleetFacts, made: Plan, now_us: int | None = None) -> FleetFacts:
    """The fleet after the plan was carried out."""
    started = tuple(as_live(placement.run, placement.host_id, facts.now_us) for placement in made.placements)
    return replace(facts, live=(*facts.live, *started), now_us=now_us or facts.now_us)


def as_live(run: Run, host_id: str, now_us: int) -> Occupied:
    return Occupied(
        f"a-{run.id}",
        run.id,
        run.vm_id,
        run.vm_name,
        host_id,
        run.tenant,
        run.repository_id,
        run.kind is RunKind.RESTORE,
        True,
        now_us,
    )


def use(facts: FleetFacts, *, restores: bool = True, preparing: bool = False) -> Counter[ScopeKey]:
    return Counter(
        where
        for each in facts.live
        if (restores or not each.restore) and (not preparing or not each.restore)
        for where in scopes_of_live(facts, each)
    )


@given(fleets())
def test_no_counter_is_ever_above_its_limit(fleet: tuple[list[Run], FleetFacts]) -> None:
    runs, facts = fleet
    after = begun(facts, plan(runs, facts))
    for where, used in use(after).items():
        cap = facts.caps.value(where, Measure.TRANSFERRING)
        assert cap is None or used <= cap
    for where, used in use(after, preparing=True).items():
        cap = facts.caps.value(where, Measure.PREPARING)
        assert cap is None or used <= cap


@given(fleets())
def test_backups_never_take_what_is_kept_for_restores(fleet: tuple[list[Run], FleetFacts]) -> None:
    runs, facts = fleet
    for where, used in use(begun(facts, plan(runs, facts)), restores=False).items():
        cap = facts.caps.value(where, Measure.TRANSFERRING)
        assert cap is None or used <= cap - reserved(where.scope, cap)


@given(fleets(), st.randoms())
def test_every_run_is_in_the_plan_once_and_the_order_given_means_nothing(
    fleet: tuple[list[Run], FleetFacts],
    rng: "st.random.Random",  # type: ignore[name-defined]
) -> None:
    runs, facts = fleet
    made = plan(runs, facts)
    assert sorted([each.run.id for each in made.placements] + list(made.waiting)) == sorted(run.id for run in runs)
    shuffled = list(runs)
    rng.shuffle(shuffled)
    again = plan(shuffled, facts)
    assert [each.run.id for each in again.placements] == [each.run.id for each in made.placements]
    assert {key: why.sentence for key, why in again.waiting.items()} == {
        key: why.sentence for key, why in made.waiting.items()
    }


@given(fleets())
def test_no_lower_class_takes_a_place_that_a_higher_one_could_have_had(fleet: tuple[list[Run], FleetFacts]) -> None:
    """Without all lower classes nothing more of a class would start."""
    runs, facts = fleet
    made = plan(runs, facts)
    for admission in {class_of(run) for run in runs}:
        above = [run for run in runs if class_of(run) <= admission]
        alone = {each.run.id for each in plan(above, facts).placements}
        assert alone == {each.run.id for each in made.placements if class_of(each.run) <= admission}


@given(fleets())
def test_capacity_is_not_left_idle(fleet: tuple[list[Run], FleetFacts]) -> None:
    """Who waits without anybody keeping a place waits for a limit that is reached."""
    runs, facts = fleet
    waiting = plan([run for run in runs if run.kind is RunKind.BACKUP], facts).waiting
    for why in waiting.values():
        assert why.cap == 0 or why.used >= why.cap


@given(fleets(), st.integers(1, 3))
@settings(max_examples=60)
def test_everybodys_turn_comes(fleet: tuple[list[Run], FleetFacts], ticks_to_end: int) -> None:
    """However runs end, one after the other: after as many rounds as there are runs, times the length of one, all that can run have run."""
    runs, facts = fleet
    able = {run.id for run in runs} - {key for key, why in plan(runs, facts).waiting.items() if why.cap == 0}
    left = list(runs)
    age: dict[str, int] = {}
    for tick in range((len(runs) + 1) * (ticks_to_end + 1)):
        facts = replace(facts, now_us=facts.now_us + SECOND)
        made = plan(left, facts)
        facts = begun(facts, made)
        started = {each.run.id for each in made.placements}
        left = [run for run in left if run.id not in started]
        age |= dict.fromkeys(started, tick)
        facts = replace(facts, live=tuple(each for each in facts.live if tick - age[each.run_id] < ticks_to_end))
    assert not able & {run.id for run in left}


def test_a_run_with_two_scarce_needs_is_not_starved_by_a_stream_of_others() -> None:
    """Others come for ever, each needs one of the two; they overlap, so both are never free by themselves."""
    vms = [VmFacts("both", "h0", True, STORAGES)]
    vms += [VmFacts(f"s{number}", "h0", True, (STORAGES[number % 2],)) for number in range(200)]
    facts = fleet_facts([a_host("h0")], [a_session("h0")], vms, limits=[limit(Scope.STORAGE, 1), limit(Scope.HOST, 9)])
    both, stream = a_run(0, vm_id="both"), [a_run(number + 1, vm_id=f"s{number}") for number in range(200)]
    left = [both]
    ages: dict[str, int] = {}
    for step in range(200):
        now_us = NOW + step * 60 * SECOND
        left.append(replace(stream[step], created_us=now_us, not_before_us=now_us))
        facts = replace(facts, now_us=now_us, sessions={"h0": a_session("h0", now_us + HOUR)})
        made = plan(left, facts)
        if both.id in {each.run.id for each in made.placements}:
            assert now_us - NOW <= HOLD_AFTER_US + 5 * 60 * SECOND
            return
        started = {each.run.id for each in made.placements}
        ages |= dict.fromkeys(started, step)
        left = [run for run in left if run.id not in started]
        live = begun(facts, made).live
        facts = replace(facts, live=tuple(each for each in live if step - ages[each.run_id] < 3))
    pytest.fail("it never ran")


@given(
    st.lists(st.sampled_from(TENANTS), min_size=1, max_size=40),
    st.integers(2, 12),
    st.dictionaries(st.sampled_from(TENANTS), st.integers(1, 4)),
    st.tuples(*[st.dictionaries(st.sampled_from(TENANTS), st.integers(0, 3))] * 2),
    st.booleans(),
)
def test_tenants_get_their_weights_share_within_one_run(
    tenants: list[str], slots: int, weights: dict[str, int], holding: tuple[dict[str, int], ...], restore: bool
) -> None:
    """Each slot goes to whoever holds least for its weight: no tenant that still waits is more than one run behind one that got something.

    So it is of backups, and of restores; what a tenant holds of the other kind counts for nothing.
    """
    runs = [
        a_restore(number, "h0", vm_id=f"vm-{number}", tenant=tenant)
        if restore
        else a_run(number, vm_id=f"vm-{number}", tenant=tenant)
        for number, tenant in enumerate(tenants)
    ]
    live = [
        as_live(replace(run, vm_id=f"live-{tenant}-{number}", tenant=tenant), "h1", NOW)
        for run, held_by in zip((a_run(), a_restore()), holding, strict=True)
        for tenant, held in held_by.items()
        for number in range(held)
    ]
    vms = [VmFacts(run.vm_id, "h0", True) for run in runs]
    limits = [limit(Scope.HOST, slots), *(limit(Scope.TENANT, w, t, Measure.WEIGHT) for t, w in weights.items())]
    made = plan(runs, fleet_facts([a_host("h0")], [a_session("h0")], vms, live, limits))
    got = Counter(each.run.tenant for each in made.placements)
    has = got + Counter(each.tenant for each in live if each.restore is restore)
    for poor in {run.tenant for run in runs if run.id in made.waiting}:
        for rich in got:
            assert (has[rich] - 1) / weights.get(rich, 1) <= has[poor] / weights.get(poor, 1)


@given(fleets())
def test_a_restore_finds_a_place_while_only_backups_run(fleet: tuple[list[Run], FleetFacts]) -> None:
    """On any host with two slots at least, whatever backups fill it, as far as hosts and the whole are what limits."""
    runs, facts = fleet
    kept = {
        key: value
        for key, value in facts.caps.limits.items()
        if key[0] in (Scope.GLOBAL, Scope.HOST) and (value > 1 or key[2] is Measure.PREPARING)
    }
    facts = replace(facts, caps=replace(facts.caps, limits=kept))
    backups = [run for run in runs if run.kind is RunKind.BACKUP]
    full = begun(facts, plan(backups, facts))
    for host in HOSTS:
        assert plan([a_restore(99, host, vm_id="r")], full).placements
    assert facts.caps.value(GLOBAL, Measure.TRANSFERRING)
