"""What would make a run start sooner: a command where a host lets nothing begin, a look where it is away."""

from dataclasses import replace

import pytest

from seawall.controller.admission.advice import not_begun, to_be_heard, to_start
from seawall.controller.records.limits import Breaker, Scope, Service
from seawall.controller.records.runs import Attempt, AttemptState, RunKind
from seawall.controller.scheduler.placement import plan
from support.admission_facts import fleet_facts
from support.controller_records import NOW, SECOND, a_host, a_run, a_session

ATTEMPT = Attempt("attempt", a_run().id, 1, "alpha", 1, AttemptState.ASSIGNED, NOW, NOW + 60 * SECOND)
UNCORDON = "Once the work on host alpha is done: seawall host uncordon alpha lets runs begin there."


@pytest.mark.parametrize(
    ("changed", "advice"),
    [
        ({"sessions": (a_session(lease_until_us=NOW),)}, to_be_heard("alpha")),
        ({"sessions": ()}, to_be_heard("alpha")),
        ({"hosts": (a_host(service=Service.CORDONED),)}, [UNCORDON]),
        ({"hosts": (a_host(service=Service.DRAINING),)}, [UNCORDON]),
        ({"hosts": (a_host(service=Service.CORDONED),), "sessions": ()}, to_be_heard("alpha")),
        ({"vms": ()}, []),
    ],
)
def test_where_a_host_takes_nothing_the_advice_is_about_the_host(changed: dict[str, object], advice: list[str]) -> None:
    """Though attempts failed there too: nothing is tried again before somebody did that."""
    run, failed = a_run(), Breaker(Scope.HOST, "alpha", 9, NOW, "REASON", "message")
    facts = fleet_facts(**changed, breakers=[failed])  # type: ignore[arg-type]
    assert to_start(facts, plan([run], facts).waiting[run.id], 0) == advice


def test_for_a_host_that_is_revoked_for_ever_nothing_is_to_be_done() -> None:
    run, facts = a_run(), fleet_facts(hosts=(a_host(revoked=True),), sessions=())
    assert to_start(facts, plan([run], facts).waiting[run.id], 0) == []


def test_who_has_not_begun_is_named_with_what_comes_of_it() -> None:
    told = not_begun("gamma", ATTEMPT, RunKind.BACKUP, NOW + 20 * SECOND)
    assert told == "host gamma to begin the backup: given to it 20 s ago, and given out anew in 40 s if it does not"
    late = not_begun("gamma", replace(ATTEMPT, created_us=NOW + SECOND), RunKind.RESTORE, NOW + 60 * SECOND)
    assert late == "host gamma to begin the restore: given to it 59 s ago", "the scheduler has not looked since"
