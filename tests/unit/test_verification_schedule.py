"""What the leader's loop reads out of earlier jobs, and which of them it keeps."""

import json

from seawall.controller.maintenance.verify_schedule import (
    JOBS_KEPT,
    NEW,
    POLICY,
    ROLLING,
    Past,
    is_quiet,
    past_of,
    rhythm_of,
    spent_jobs,
)
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.timings import Timings

BEGAN, CREATED = 1000, 5


def a_job(
    number: int,
    because: str = "",
    state: JobState = JobState.SUCCEEDED,
    *,
    findings: int = 0,
    kind: JobKind = JobKind.CHECK,
) -> Job:
    request = {"because": because, "limit_bytes": 1} if because else {"read_data_percent": 100}
    result = json.dumps({"findings_total": findings}) if state is JobState.SUCCEEDED else ""
    ended = number * 100 + 50 if state.over else 0
    return Job(str(number), "repository", kind, state, json.dumps(request), number * 100, result=result, ended_us=ended)


def test_without_jobs_the_controllers_start_counts() -> None:
    assert past_of([], BEGAN, CREATED) == Past(BEGAN, CREATED, 0)


def test_the_last_of_each_kind_counts_and_what_somebody_ordered_does_not() -> None:
    jobs = [a_job(40), a_job(30, NEW), a_job(20, ROLLING), a_job(15, NEW), a_job(10, ROLLING)]
    assert past_of(jobs, BEGAN, CREATED) == Past(3050, 2000, 0)
    collect = a_job(50, kind=JobKind.COLLECT)
    assert past_of([collect, *jobs], BEGAN, CREATED) == Past(3050, 2000, 0)


def test_one_that_failed_was_cancelled_or_found_something_is_waited_for() -> None:
    before = a_job(10, NEW)
    for last in (
        a_job(20, ROLLING, JobState.FAILED),
        a_job(20, NEW, JobState.CANCELED),
        a_job(20, NEW, findings=1),
    ):
        assert past_of([last, before], BEGAN, CREATED).failed_us == 2050
        assert past_of([a_job(30, NEW), last, before], BEGAN, CREATED).failed_us == 0


def test_checks_for_policies_do_not_fill_the_list_whatever_they_found() -> None:
    found = [a_job(100 - number, POLICY, findings=1) for number in range(JOBS_KEPT + 2)]
    rolling, failed = a_job(9, ROLLING, findings=1), a_job(8, NEW, findings=1)
    assert spent_jobs([*found, rolling, failed]) == found[JOBS_KEPT:]
    assert spent_jobs([a_job(200, POLICY, JobState.ACTIVE), *found]) == found[JOBS_KEPT:]
    new = [a_job(200 + number, NEW) for number in range(JOBS_KEPT, 0, -1)]
    assert spent_jobs([*new, *found]) == found[1:], "the last one is waited for"


def test_what_is_found_for_policies_is_waited_for_by_policies_alone() -> None:
    found, clean, new = a_job(30, POLICY, findings=1), a_job(20, ROLLING), a_job(40, NEW, findings=1)
    assert past_of([found, clean], BEGAN, CREATED) == Past(BEGAN, 2000, 0, policy_failed_us=3050)
    assert past_of([new, found, clean], BEGAN, CREATED) == Past(4050, 2000, 4050, policy_failed_us=3050)
    assert past_of([a_job(50, POLICY), new, found], BEGAN, CREATED) == Past(4050, CREATED, 4050, policy_failed_us=0)


def test_only_quiet_jobs_are_dropped() -> None:
    assert is_quiet(a_job(1, NEW))
    assert is_quiet(a_job(1, ROLLING))
    for kept in (a_job(1), a_job(1, NEW, findings=1), a_job(1, NEW, JobState.FAILED), a_job(1, NEW, JobState.ACTIVE)):
        assert not is_quiet(kept)
    assert a_job(1, kind=JobKind.COLLECT).because == ""


def test_the_last_rolling_job_is_kept_however_many_read_new_packs_since() -> None:
    """Else all that was stored would be due again each time that so many were over."""
    new = [a_job(number, NEW) for number in range(100 + JOBS_KEPT, 100, -1)]
    last, before = a_job(9, ROLLING), a_job(8, ROLLING)
    jobs = [*new, last, a_job(9, NEW), before, a_job(7, NEW, findings=1)]
    assert [job.created_us for job in spent_jobs(jobs)] == [900, 800]
    assert past_of([job for job in jobs if job not in spent_jobs(jobs)], BEGAN, CREATED).rolling_begin_us == 900


def test_the_rhythm_of_the_defaults() -> None:
    rhythm = rhythm_of(Timings())
    assert (rhythm.period_days, rhythm.new_every_seconds, rhythm.rolling_every_seconds) == (30.0, 20.0, 3600.0)
    assert rhythm_of(Timings(verify_period_seconds=0)).period_days == 0
