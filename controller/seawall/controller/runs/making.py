"""Runs that do not exist yet. Pure but for the id."""

from dataclasses import replace

from seawall.controller.records.runs import Run, RunKind, RunState
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.timings import Timings, microseconds
from seawall.repository.clock import Clock

WAITS = "the scheduler has not looked at it yet"


def ready_run(
    kind: RunKind, vm_id: str, vm_name: str, tenant: str, repository_id: str, *, clock: Clock, timings: Timings
) -> Run:
    """One that may begin at once. What it backs up or restores is for the caller to say."""
    now_us = clock.now_us()
    run = Run(
        id=uuid7(clock),
        kind=kind,
        vm_id=vm_id,
        vm_name=vm_name,
        tenant=tenant,
        repository_id=repository_id,
        point_id="",
        backup=None,
        restore=None,
        state=RunState.READY,
        created_us=now_us,
        not_before_us=now_us,
        deadline_us=now_us,
        blocked_on="",
    )
    return due_at(run, now_us, WAITS, timings)


def due_at(run: Run, start_us: int, blocked_on: str, timings: Timings) -> Run:
    """The run as one that begins no sooner than this; its time runs from then on."""
    deadline_us = start_us + microseconds(timings.max_run_seconds)
    return replace(run, not_before_us=start_us, deadline_us=deadline_us, blocked_on=blocked_on)
