"""Following runs: live bars per disk on a terminal, a line per change elsewhere, and the exit code that fits how they ended."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.connection import Controller
from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output
from seawall.cli.run_text import pace, print_run, run_rows, silence
from seawall.cli.text import size
from seawall.cli.view import word
from seawall.repository.clock import SystemClock, datetime_of

Answer = TypeVar("Answer")

FIGURES_WIDTH = 80
"""What a disk's line takes beside its bar."""

MOST_NAMED = 1000
"""Runs that one request may name."""
MANY = 200
"""More runs than these are summed up at the end instead of shown one by one."""
TROUBLES_SHOWN = 50

RECONNECT_SECONDS = 2.0
GIVE_UP_SECONDS = 120.0
"""A controller may restart under a watcher: the runs go on meanwhile, so the watcher comes back for two minutes."""

OVER = frozenset(
    {
        resources_pb2.RUN_STATE_SUCCEEDED,
        resources_pb2.RUN_STATE_SUCCEEDED_WITH_WARNINGS,
        resources_pb2.RUN_STATE_FAILED,
        resources_pb2.RUN_STATE_CANCELED,
        resources_pb2.RUN_STATE_MISSED,
        resources_pb2.RUN_STATE_SKIPPED,
    }
)


SUCCEEDED = frozenset({resources_pb2.RUN_STATE_SUCCEEDED, resources_pb2.RUN_STATE_SUCCEEDED_WITH_WARNINGS})


def follow(controller: Controller, output: Output, runs: Iterable[resources_pb2.Run]) -> list[resources_pb2.Run]:
    """Show the runs until all are over; returns them as they ended, in the order given."""
    latest = {run.run_id: run for run in runs}
    with _display(output) as show:
        show(latest.values())
        for run in _changes(controller, output, latest):
            latest[run.run_id] = run
            show(latest.values())
    return list(latest.values())


def finish(output: Output, runs: list[resources_pb2.Run], beside: dict[str, object] | None = None) -> None:
    """Print how the runs ended; raises Ended when one did not succeed. `beside`: what the document of --json says too."""
    if output.as_json:
        output.json((beside or {}) | {"runs": runs})
    elif len(runs) > MANY:
        _sum_up(output, runs)
    else:
        for run in runs:
            print_run(output, run)
    states = {run.state for run in runs}
    if states & {resources_pb2.RUN_STATE_FAILED, resources_pb2.RUN_STATE_MISSED}:
        raise Ended(Exit.FAILED)
    if states & {resources_pb2.RUN_STATE_CANCELED, resources_pb2.RUN_STATE_SKIPPED}:
        raise Ended(Exit.CANCELED)


def _sum_up(output: Output, runs: list[resources_pb2.Run]) -> None:
    """How many ended how, and those that did not succeed, as many as anybody reads."""
    states = Counter(word(run, "state").replace("_", " ") for run in runs)
    output.line(
        f"{len(runs)} runs: {', '.join(f'{number} {state}' for state, number in states.most_common())}", style="bold"
    )
    troubled = [run for run in runs if run.state not in SUCCEEDED]
    if troubled:
        output.table(*run_rows(troubled[:TROUBLES_SHOWN], datetime_of(SystemClock().now_us())), "")
    if len(troubled) > TROUBLES_SHOWN:
        output.line(
            f"… and {len(troubled) - TROUBLES_SHOWN} more: seawall run list --state failed --within 1d --limit 1000"
        )


class Ended(SystemExit):
    """The answer is printed already; only the exit code is left to say."""


def _changes(
    controller: Controller, output: Output, latest: dict[str, resources_pb2.Run]
) -> Iterator[resources_pb2.Run]:
    def ask() -> Iterator[operator_pb2.WatchRunsResponse] | None:
        open_ids = [run_id for run_id, run in latest.items() if run.state not in OVER]
        if not open_ids:
            return None
        return controller.stream(controller.backup.WatchRuns, operator_pb2.WatchRunsRequest(runs=open_ids))

    return (answer.run for answer in answers_until_over(output, "the runs go on", ask))


def answers_until_over(output: Output, meanwhile: str, ask: Callable[[], Iterator[Answer] | None]) -> Iterator[Answer]:
    """The answers of one stream after another; `ask` opens the next, None: all is over.

    A controller that restarts under a watcher is not the end of what it does: it comes back for two minutes. Raises CommandError.
    """
    clock = SystemClock()
    silent_since: float | None = None
    while (stream := ask()) is not None:
        try:
            for answer in stream:
                silent_since = None
                yield answer
        except CommandError as error:
            now = clock.monotonic_seconds()
            if error.code != Exit.UNREACHABLE or (silent_since is not None and now - silent_since > GIVE_UP_SECONDS):
                raise
            if silent_since is None:
                silent_since = now
                output.note(f"The controller does not answer; {meanwhile}. Trying again for two minutes.")
            clock.sleep_seconds(RECONNECT_SECONDS)


class _Lines:
    """Where no terminal is: one line per change of state or phase, on standard error."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._said: dict[str, str] = {}

    def __call__(self, runs: Iterable[resources_pb2.Run]) -> None:
        for run in runs:
            line = f"{word(run, 'kind')} of {run.vm_name}: {headline(run)}"
            if self._said.get(run.run_id) != line:
                self._said[run.run_id] = line
                self._output.note(line)


@contextmanager
def _display(output: Output) -> "Iterator[_Lines | _Bars]":
    if output.as_json or not output.err.is_terminal:
        yield _Lines(output)
        return
    bars = _Bars(output.err)
    with bars.live:
        yield bars


class _Bars:
    """On a terminal: a headline per run and below it a line with a bar per disk, cut where the terminal ends, never folded."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.live = Live(console=console, refresh_per_second=4, transient=True)

    def __call__(self, runs: Iterable[resources_pb2.Run]) -> None:
        self.live.update(Group(*(part for run in runs for part in self._parts(run))))

    def _parts(self, run: resources_pb2.Run) -> Iterator[RenderableType]:
        yield Text.assemble((run.vm_name, "bold"), "  ", headline(run), no_wrap=True, overflow="ellipsis")
        disks = Table.grid(padding=(0, 2))
        for _ in ("disk", "bar", "figures"):
            disks.add_column(no_wrap=True, overflow="ellipsis")
        bar_width = min(max(self._console.width - FIGURES_WIDTH, 8), 30)
        for disk in run.attempts[-1].progress.disks if run.attempts else ():
            disks.add_row(Text(f"  {disk.disk}"), _bar(disk, bar_width), _figures(disk))
        if disks.row_count:
            yield disks


def _bar(disk: resources_pb2.DiskProgress, width: int) -> ProgressBar:
    total = max(disk.planned_bytes, disk.read_bytes, 1)
    return ProgressBar(total=total, completed=total if disk.done else disk.read_bytes, width=width)


def _figures(disk: resources_pb2.DiskProgress) -> str:
    how = word(disk, "how")
    return (
        f"{size(disk.read_bytes)} of {size(disk.planned_bytes)}  new {size(disk.new_bytes)}  stored {size(disk.stored_bytes)}"
        + (f"  by {how}" if disk.how else "")
    )


def headline(run: resources_pb2.Run) -> str:
    if run.state in OVER:
        return word(run, "state").replace("_", " ")
    if not run.attempts or run.state == resources_pb2.RUN_STATE_READY:
        return f"waits: {run.blocked_on}" if run.blocked_on else "waits for a place"
    attempt = run.attempts[-1]
    progress = attempt.progress
    if run.blocked_on:
        return f"waits for {run.blocked_on}"
    parts = ["canceling"] if run.cancel_requested else []
    silent = attempt.HasField("silent_since")
    parts.append(silence(attempt) if silent else progress.phase or word(attempt, "state"))
    if attempt.attempt_no > 1:
        parts.append(f"attempt {attempt.attempt_no}")
    return ", ".join(parts if silent else parts + pace(progress))
