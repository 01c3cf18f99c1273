"""A worker process: one attempt from assignment to report. Exec'ed by the supervisor; everything it needs comes over stdin.

Keys and signed URLs live in this process' memory alone: never in arguments, the environment, files, or the log.
"""

import sys
from contextlib import closing
from functools import partial
from typing import cast

import grpc
import structlog

from seawall.agent.control.channel import worker_channel
from seawall.agent.control.client import ControllerClient
from seawall.agent.control.coordinator import AgentCoordinator, AgentPackReader
from seawall.agent.control.errors import OutcomeUnknown
from seawall.agent.control.identity import load_identity
from seawall.agent.control.messages import BackupGrant
from seawall.agent.control.renewed import RenewedChannel
from seawall.agent.control.retry import Retry
from seawall.agent.errors import AgentError, Canceled, Fenced
from seawall.agent.journal import Journal
from seawall.agent.limits.bucket import RateBucket
from seawall.agent.limits.throttled import ThrottledTransfer
from seawall.agent.limits.traffic import TrafficMeter
from seawall.agent.logs import set_up_logs
from seawall.agent.worker.adapters import BuildAdapters
from seawall.agent.worker.backup import back_up
from seawall.agent.worker.failure import failure_of
from seawall.agent.worker.lines import LineReader
from seawall.agent.worker.orders import listen
from seawall.agent.worker.parent_death import end_with_parent, has_parent
from seawall.agent.worker.pipe import End, Job, parse_job
from seawall.agent.worker.reporter import Reporter
from seawall.agent.worker.restore import restore
from seawall.agent.worker.session import CurrentSession
from seawall.agent.worker.stop import AgentStopping, StopFlag, StoppableClock
from seawall.agent.worker.task import Task
from seawall.repository.clock import Clock, SystemClock
from seawall.repository.store.pace import Waits
from seawall.repository.store.retry import RetryingTransfer

ORPHANED = 1
"""Exit code of a worker whose supervisor died before it began."""

_log = structlog.get_logger("seawall.agent.worker")


def main(build: BuildAdapters) -> int:
    """Exit code 0 whenever the end was told to the supervisor, however the attempt ended."""
    set_up_logs()
    end_with_parent()
    lines = LineReader(sys.stdin.fileno())
    line = lines.line()
    if not line:
        return ORPHANED
    job = parse_job(line)
    if not has_parent(job.supervisor_pid):
        return ORPHANED
    structlog.contextvars.bind_contextvars(
        attempt=job.assignment.ref.attempt_id, run=job.assignment.run_id, vm=job.assignment.vm_id
    )
    clock = SystemClock()
    stop, session = StopFlag(), CurrentSession(job.session_id)
    bucket = RateBucket(clock, stop.pause, job.bytes_per_second)
    listen(lines, stop, session, bucket)
    reporter = Reporter(job.assignment.ref.attempt_id, sys.stdout.buffer, clock)
    reporter.counts(TrafficMeter(bucket, clock).read)
    with reporter.running():
        end = _attempt(job, build, stop, session, reporter, bucket, clock)
    reporter.end(end)
    _log.info("attempt_ended", end=end.value)
    return 0


def _attempt(
    job: Job,
    build: BuildAdapters,
    stop: StopFlag,
    session: CurrentSession,
    reporter: Reporter,
    bucket: RateBucket,
    clock: Clock,
) -> End:
    identity = load_identity(job.config.state_dir)
    journal = Journal(job.config.state_dir, clock)
    adapters = build(job.config, clock)
    transfer = RetryingTransfer(ThrottledTransfer(adapters.transfer, bucket), StoppableClock(clock, stop))
    waits = Waits(clock, "the controller")
    reporter.held_up_by(lambda: transfer.waiting_on or waits.sentence() or bucket.waiting_on)
    open_channel = partial(worker_channel, controllers=job.config.controllers)
    with closing(RenewedChannel(job.config.state_dir, identity, open_channel)) as channel:
        client = ControllerClient(
            cast(grpc.Channel, channel), session, job.assignment.ref, Retry(clock, stop.pause, waits=waits)
        )
        task = Task(
            job,
            client,
            AgentCoordinator(client, transfer, clock),
            AgentPackReader(client, transfer, clock),
            adapters,
            reporter,
            stop,
            journal,
            clock,
            bucket,
        )
        try:
            return _judged(task)
        finally:
            journal.close()


def _judged(task: Task) -> End:
    """Do the work and say how it ended: the one broad `except` of a worker."""
    try:
        _work(task)
    except OutcomeUnknown as error:
        _log.warning("outcome_unknown", error=str(error))
        return End.UNREPORTED
    except Fenced as error:
        _log.info("fenced", error=str(error))
        return End.FENCED
    except Exception as error:
        _log.exception("attempt_failed", error=str(error))
        return _report(task, error)
    return End.SUCCEEDED


def _work(task: Task) -> None:
    task.stop.check()
    task.reporter.phase("asking for the grant")
    grant = task.client.accept()
    if isinstance(grant, BackupGrant):
        back_up(task, grant)
    else:
        restore(task, grant)


def _report(task: Task, error: Exception) -> End:
    """An orphan says nothing: the next supervisor tells of the lost attempt with its Hello, and another begins at once."""
    if isinstance(error, AgentStopping) and not has_parent(task.job.supervisor_pid):
        return End.UNREPORTED
    canceled = isinstance(error, Canceled)
    try:
        task.client.fail(failure_of(error), task.reporter.now(), canceled=canceled)
    except Fenced:
        return End.FENCED
    except AgentError as unreported:
        _log.warning("failure_not_reported", error=str(unreported))
        return End.UNREPORTED
    return End.CANCELED if canceled else End.FAILED
