"""A publication that its store holds up: what is said, when it is given up, how often it is tried. Pure."""

from dataclasses import replace

import pytest

from seawall.controller.errors import ControllerError, FailedPrecondition, Unavailable
from seawall.controller.publishing.finisher import Patience
from seawall.controller.publishing.waiting import held_up
from seawall.controller.records.catalogue import Point, PointState
from seawall.controller.records.runs import Attempt, AttemptState, Run, RunKind, RunState
from seawall.controller.runs.events import Moment
from seawall.controller.runs.machine import Execution, step
from seawall.controller.timings import Timings

SECOND = 1_000_000
BEGAN = 1_795_000_000 * SECOND
AWAY = Unavailable("STORE_UNAVAILABLE", "the store answered 503.")
GONE = FailedPrecondition("BUCKET_MISSING", "the bucket does not exist.")

RUN = Run(
    id="r1", kind=RunKind.BACKUP, vm_id="v", vm_name="db-1", tenant="default", repository_id="p", point_id="r1",
    backup=None, restore=None, state=RunState.ACTIVE, created_us=BEGAN, not_before_us=BEGAN,
    deadline_us=BEGAN + 3600 * SECOND, current_attempt="a1",
)  # fmt: skip
ATTEMPT = Attempt(
    id="a1", run_id="r1", no=1, host_id="h", db_epoch=1, state=AttemptState.PUBLISHING, created_us=BEGAN,
    phase_deadline_us=0,
)  # fmt: skip
POINT = Point(
    id="r1", vm_id="v", vm_name="db-1", tenant="default", repository_id="p", attempt_id="a1", host_id="h",
    parent_point_id="", state=PointState.PUBLISHING, db_epoch=1, instant_us=BEGAN, guest_frozen=True, disks=(),
    warnings=(), manifest_hash=b"", created_us=BEGAN,
)  # fmt: skip


def waited(before: Execution, error: ControllerError, now_us: int) -> Execution:
    return step(before, held_up(before.run, POINT, error), Moment(now_us, Timings())).after


SINCE = "since 2026-11-18 11:06:40 UTC"


@pytest.mark.parametrize("error", [AWAY, GONE])
def test_it_is_said_what_is_waited_for(error: ControllerError) -> None:
    after = waited(Execution(RUN, ATTEMPT), error, BEGAN + 9 * SECOND)
    assert after.attempt == ATTEMPT and after.run.state is RunState.ACTIVE
    assert SINCE in after.run.blocked_on and error.reason in after.run.blocked_on
    assert ("seawall run cancel r1" in after.run.blocked_on) == (error is GONE)
    again = waited(after, error, BEGAN + 99 * SECOND)
    assert again == after, "nothing new, nothing to write"


@pytest.mark.parametrize(
    ("error", "run", "given_up"),
    [
        (GONE, replace(RUN, cancel_us=1), True),
        (GONE, replace(RUN, deadline_us=BEGAN + 1), True),
        (AWAY, replace(RUN, cancel_us=1), False),
        (AWAY, replace(RUN, deadline_us=BEGAN + 1), False),
    ],
    ids=["gone, cancelled", "gone, late", "away, cancelled", "away, late"],
)
def test_it_is_given_up_only_where_the_store_refuses_for_good(error: ControllerError, run: Run, given_up: bool) -> None:
    after = waited(Execution(run, ATTEMPT), error, BEGAN + 9 * SECOND)
    assert (after.run.state is RunState.FAILED) == given_up
    assert (after.attempt.state is AttemptState.FAILED) == given_up
    if given_up:
        assert after.run.failure is not None and after.run.blocked_on == ""
        assert after.run.failure.reason == "BUCKET_MISSING" and after.run.failure.next_step


def test_a_point_that_fails_is_tried_ever_more_rarely() -> None:
    patience = Patience(5.0)
    tried = []
    for number in range(1, 60):
        if patience.due(["p"]):
            tried.append(number)
            assert patience.failed("p", "AWAY") == (number == 1)
    assert tried == [1, 2, 4, 8, 16, 28, 40, 52]
    assert patience.due(["q"]) == ["q"], "another one is due at once"
    assert patience.due(["p"]) == ["p"], "one that was done in between begins anew"
    assert patience.failed("p", "AWAY")
