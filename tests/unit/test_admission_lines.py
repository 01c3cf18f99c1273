"""Lines that are kept and changed are the lines that would be made anew, and so give the same plan."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from seawall.controller.admission.candidates import Candidate, candidate_of
from seawall.controller.admission.facts import VmFacts
from seawall.controller.admission.lines import Lines, lines_of
from seawall.controller.records.runs import Run
from seawall.controller.scheduler.placement import plan, plan_lines
from support.admission_facts import fleet_facts
from support.controller_records import HOUR, NOW, a_restore, a_run

OBJECTIVES = {"hourly": HOUR, "nightly": 24 * HOUR}


@st.composite
def runs(draw: st.DrawFn) -> Run:
    number = draw(st.integers(1, 12))
    if draw(st.integers(0, 5)) == 0:
        return a_restore(number, draw(st.sampled_from(("alpha", "gone"))), vm_id=f"vm-{number}")
    policy_id = draw(st.sampled_from(("", *OBJECTIVES)))
    tenant = draw(st.sampled_from(("red", "green")))
    return a_run(number, vm_id=f"vm-{number}", policy_id=policy_id, tenant=tenant, version=draw(st.integers(1, 3)))


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, VmFacts]:
    return {
        f"vm-{number}": VmFacts(
            f"vm-{number}",
            draw(st.sampled_from(("alpha", "beta", "gone"))),
            draw(st.integers(0, 5)) > 0,
        )
        for number in range(1, 13)
    }


@st.composite
def newest(draw: st.DrawFn) -> dict[str, dict[str, int]]:
    ages = st.dictionaries(st.sampled_from([f"vm-{number}" for number in range(1, 13)]), st.sampled_from((1, 30)))
    return {
        policy_id: {vm_id: NOW - hours * HOUR for vm_id, hours in draw(ages).items()} for policy_id in ("", *OBJECTIVES)
    }


State = tuple[list[Run], dict[str, VmFacts], dict[str, dict[str, int]]]


@given(st.lists(st.tuples(st.lists(runs(), unique_by=lambda run: run.id), fleets(), newest()), max_size=6))
def test_lines_that_were_changed_are_those_made_anew(states: list[State]) -> None:
    lines, known = Lines(), dict[str, Candidate]()
    for ready, vms, newest_us in states:
        facts = fleet_facts(vms=vms.values(), objectives_us=OBJECTIVES, newest_us=newest_us)
        after = {run.id: candidate_of(run, facts.vms, newest_us, OBJECTIVES) for run in ready}
        gone = [each for run_id, each in known.items() if after.get(run_id) != each]
        come = [each for run_id, each in after.items() if known.get(run_id) != each]
        lines, known = lines.changed(gone, come), after
        assert lines == lines_of(ready, facts)
        assert plan_lines(lines, facts) == plan(reversed(ready), facts)


def test_a_line_that_nothing_touches_is_shared_and_an_empty_one_goes() -> None:
    facts = fleet_facts()
    red, green = a_run(1, tenant="red"), a_run(2, tenant="green")
    lines = lines_of([red, green], facts)
    (left,) = lines.without({red.id}).of.items()
    assert (left[0].tenant, left[1]) == ("green", lines.of[left[0]])
    assert lines.of[left[0]] is left[1]
    assert lines.changed((), ()) is lines


def test_a_run_of_a_later_version_takes_the_place_of_the_one_before() -> None:
    facts, run = fleet_facts(), a_run(1)
    lines = lines_of([run], facts)
    later = replace(run, version=2, tenant="other")
    moved = lines.changed(
        [candidate_of(run, facts.vms, {}, {})],
        [candidate_of(later, facts.vms, {}, {})],
    )
    assert moved == lines_of([later], facts)
