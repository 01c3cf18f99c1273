"""Following one maintenance job: a bar on a terminal, a line per change elsewhere, and the exit code that fits how it ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.connection import Controller
from seawall.cli.exits import Exit
from seawall.cli.job_text import detail, kind_text, print_job
from seawall.cli.output import Output
from seawall.cli.view import word
from seawall.cli.watch import Ended, answers_until_over

BAR_WIDTH = 30
OVER = frozenset({resources_pb2.JOB_STATE_SUCCEEDED, resources_pb2.JOB_STATE_FAILED, resources_pb2.JOB_STATE_CANCELED})

Show = Callable[[resources_pb2.Job], None]


def follow_job(controller: Controller, output: Output, job: resources_pb2.Job) -> resources_pb2.Job:
    """Show the job until it is over; returns it as it ended."""
    with _display(output) as show:
        show(job)
        for changed in _changes(controller, output, job):
            job = changed
            show(job)
    return job


def finish_job(output: Output, job: resources_pb2.Job) -> None:
    """Print how the job ended, and end with the code that fits: 1 also for a check that found damage."""
    if output.as_json:
        output.json({"job": job})
    else:
        print_job(output, job)
    if job.state == resources_pb2.JOB_STATE_CANCELED:
        raise Ended(Exit.CANCELED)
    if job.state == resources_pb2.JOB_STATE_FAILED or job.result.findings_total:
        raise Ended(Exit.FAILED)


def _changes(controller: Controller, output: Output, job: resources_pb2.Job) -> Iterator[resources_pb2.Job]:
    state = job.state

    def ask() -> Iterator[operator_pb2.WatchJobResponse] | None:
        if state in OVER:
            return None
        return controller.stream(controller.backup.WatchJob, operator_pb2.WatchJobRequest(job=job.job_id))

    for answer in answers_until_over(output, "the job goes on", ask):
        state = answer.job.state
        yield answer.job


@contextmanager
def _display(output: Output) -> Iterator[Show]:
    if output.as_json or not output.err.is_terminal:
        yield _Lines(output)
        return
    bar = _Bar(output.err)
    with bar.live:
        yield bar


class _Lines:
    """Where no terminal is: one line per change of state or phase, on standard error."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._said = ""

    def __call__(self, job: resources_pb2.Job) -> None:
        line = f"{kind_text(job)} of {job.repository}: {_headline(job, job.progress.phase)}"
        if line != self._said:
            self._said = line
            self._output.note(line)


class _Bar:
    """On a terminal: what is done now, and how far, on one line that is never folded."""

    def __init__(self, console: Console) -> None:
        self.live = Live(console=console, refresh_per_second=4, transient=True)

    def __call__(self, job: resources_pb2.Job) -> None:
        name = f"{kind_text(job)} of {job.repository}"
        head = Text.assemble((name, "bold"), "  ", _headline(job, detail(job)), no_wrap=True, overflow="ellipsis")
        progress = job.progress
        if job.state == resources_pb2.JOB_STATE_ACTIVE and progress.total:
            bar = ProgressBar(total=progress.total, completed=min(progress.done, progress.total), width=BAR_WIDTH)
            self.live.update(Group(head, bar))
        else:
            self.live.update(head)


def _headline(job: resources_pb2.Job, active: str) -> str:
    if job.state == resources_pb2.JOB_STATE_ACTIVE:
        return active or "working"
    if job.state == resources_pb2.JOB_STATE_READY:
        return detail(job) or "waits for its turn"
    return word(job, "state")
