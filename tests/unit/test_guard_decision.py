"""What a guard does about a job, and what passes between it and its capture."""

from pathlib import Path

import pytest

from seawall.agent.capture.guard.decision import (
    LATEST_BIRTH_SECONDS,
    LONGEST_SECONDS,
    Job,
    Phase,
    Step,
    next_step,
)
from seawall.agent.capture.guard.protocol import (
    MAX_FAILURES,
    Order,
    Report,
    Setup,
    error_of,
    order_line,
    parse_order,
    parse_report,
    parse_setup,
    report_line,
    setup_line,
    verdict_of,
)
from seawall.agent.capture.limits import Limits
from seawall.agent.errors import AgentError, FreezeFailed, HypervisorError, ScratchFull, VmStopped

PIPE_TAKES_BYTES = 4096


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("job", Job)
def test_nothing_is_ended_without_need(phase: Phase, job: Job) -> None:
    assert next_step(phase, job, None, frozen=False) is Step.LOOK_AGAIN


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("job", Job)
def test_no_guard_lives_for_ever(phase: Phase, frozen: bool, job: Job) -> None:
    assert next_step(phase, job, LONGEST_SECONDS + 1, frozen=frozen) is Step.LEAVE


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("frozen", [True, False])
def test_our_job_is_ended_whatever_else(phase: Phase, frozen: bool) -> None:
    assert next_step(phase, Job.OURS, 0, frozen=frozen) is Step.END_JOB


@pytest.mark.parametrize(
    ("phase", "job", "seconds", "step"),
    [
        (Phase.PREPARING, Job.UNKNOWN, 0, Step.LEAVE),
        (Phase.BEGINNING, Job.ABSENT, LATEST_BIRTH_SECONDS - 1, Step.LOOK_AGAIN),  # asked for, and may still come
        (Phase.BEGINNING, Job.ABSENT, LATEST_BIRTH_SECONDS, Step.LEAVE),
        (Phase.BEGINNING, Job.UNKNOWN, LATEST_BIRTH_SECONDS, Step.LOOK_AGAIN),
        (Phase.RUNNING, Job.ABSENT, 0, Step.LEAVE),
        (Phase.RUNNING, Job.UNKNOWN, 0, Step.LOOK_AGAIN),
        (Phase.RUNNING, Job.UNSERVED, 0, Step.LEAVE),  # QEMU is gone, and libvirt with it
    ],
)
def test_leaves_when_there_is_nothing_to_end(phase: Phase, job: Job, seconds: float, step: Step) -> None:
    assert next_step(phase, job, seconds, frozen=False) is step


@pytest.mark.parametrize("job", [Job.ABSENT, Job.UNKNOWN, Job.UNSERVED])
def test_stays_with_a_frozen_guest(job: Job) -> None:
    assert next_step(Phase.PREPARING, job, 10, frozen=True) is Step.LOOK_AGAIN


@pytest.mark.parametrize(
    "error",
    [
        ScratchFull("full", next_step="a"),
        HypervisorError("gone", reason="SCRATCH_LOST"),
        VmStopped("gone"),
        FreezeFailed("f", next_step="b"),
    ],
)
def test_an_error_comes_through_the_pipe_as_it_was(error: AgentError) -> None:
    report = Report(frozen=True, frozen_ms=7, thaw_failures=("a", "b"), verdict=verdict_of(error))
    assert parse_report(report_line(report)) == report
    assert report.verdict is not None
    came = error_of(report.verdict)
    assert (type(came), came.reason, str(came), came.next_step) == (
        type(error),
        error.reason,
        str(error),
        error.next_step,
    )


def test_a_report_never_fills_the_pipe() -> None:
    report = Report(thaw_failures=("x" * 10_000,) * 1000)
    assert len(report_line(report)) < PIPE_TAKES_BYTES
    assert len(parse_report(report_line(report)).thaw_failures) == MAX_FAILURES


def test_setup_and_orders_come_through_as_they_were() -> None:
    setup = Setup("qemu:///system", "vm", Path("/r/nbd.sock"), Path("/s"), Path("/r/frozen"), 10, 0.5)
    assert parse_setup(setup_line(setup)) == setup
    limits = Limits(1, 2, 3.5, 4)
    assert parse_order(order_line(Order.BEGIN, limits)) == (Order.BEGIN, limits)
    for order in Order:
        assert parse_order(order_line(order)) == (order, None)
