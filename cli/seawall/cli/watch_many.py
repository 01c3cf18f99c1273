"""Following more runs than one request may name: out of the stream of all runs those that are meant, as counts, until all are over."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from rich.live import Live

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.connection import Controller
from seawall.cli.output import Output
from seawall.cli.view import word
from seawall.cli.watch import MOST_NAMED, OVER, answers_until_over, follow
from seawall.cli.watch_all import Fleet, screen
from seawall.repository.batches import in_batches
from seawall.repository.clock import SystemClock

LINE_SECONDS = 10.0
"""Where no terminal is, the counts are told that often, if they changed."""


class Followed:
    """Runs that are followed, as the answers told them so far. Pure."""

    def __init__(self, run_ids: Sequence[str]) -> None:
        self.runs: dict[str, resources_pb2.Run | None] = dict.fromkeys(run_ids)
        self.fleet = Fleet()
        self._open = set(self.runs)
        self._untold: set[str] = set()
        """Of the last snapshot: those that it did not name, and of which nothing was told since."""
        self._in_snapshot = False

    def take(self, answer: operator_pb2.WatchRunsResponse) -> None:
        if answer.snapshot:
            self._untold = set(self._open)
            self._in_snapshot = True
        if not answer.HasField("run") or answer.run.run_id in self.runs:
            self.fleet.take(answer)
        if answer.HasField("run"):
            self.told(answer.run)
        if answer.resume_token:
            self._in_snapshot = False

    def told(self, run: resources_pb2.Run) -> None:
        if run.run_id not in self.runs:
            return
        self.runs[run.run_id] = run
        if run.state in OVER:
            self._open.discard(run.run_id)
        self._untold.discard(run.run_id)

    @property
    def missed(self) -> Collection[str]:
        """Runs that a snapshot, now over, did not name: they ended before it, or began after it. Each until it is told of.

        A stream that goes on after the snapshot's token does not tell of them again: who forgets them waits for ever.
        """
        return () if self._in_snapshot else frozenset(self._untold)

    @property
    def all_over(self) -> bool:
        return not self._open

    def line(self) -> str:
        """ "of 9000 runs 120 are over (3 failed), 40 under way, 8840 waiting"."""
        ended = Counter(word(run, "state") for run in self.runs.values() if run is not None and run.state in OVER)
        others = ", ".join(
            f"{number} {state.replace('_', ' ')}" for state, number in ended.items() if state != "succeeded"
        )
        over, active = sum(ended.values()), len(self.fleet.active)
        told = f"of {len(self.runs)} runs {over} are over{f' ({others})' if others else ''}"
        return f"{told}, {active} under way, {len(self.runs) - over - active} waiting"


def follow_any(
    controller: Controller, output: Output, run_ids: Sequence[str], runs: Sequence[resources_pb2.Run]
) -> list[resources_pb2.Run]:
    """Show them until all are over; returns them as they ended, in the order given. `runs`: all of them, or as many as are known."""
    if len(run_ids) <= MOST_NAMED and len(runs) == len(run_ids):
        return follow(controller, output, runs)
    return _follow_many(controller, output, run_ids)


def _follow_many(controller: Controller, output: Output, run_ids: Sequence[str]) -> list[resources_pb2.Run]:
    followed = Followed(run_ids)

    def ask() -> Iterator[operator_pb2.WatchRunsResponse] | None:
        if followed.all_over:
            return None
        return _taken(controller, followed)

    with _display(output, followed) as show:
        for answer in answers_until_over(output, "the runs go on", ask):
            if followed.all_over:
                break
            if answer.resume_token:
                show()
        show()
    return [run for run in followed.runs.values() if run is not None]


def _taken(controller: Controller, followed: Followed) -> Iterator[operator_pb2.WatchRunsResponse]:
    """The answers of one stream of all runs, each taken, and after a token, before it is handed on, those that were missed asked for.

    That belongs to the stream, so that a controller that goes away meanwhile is asked again. What an earlier stream owed comes first.
    """
    _ask_for_missed(controller, followed)
    if followed.all_over:
        return  # of other runs the stream may be silent for long
    request = operator_pb2.WatchRunsRequest(all=True, resume_token=followed.fleet.resume_token)
    for answer in controller.stream(controller.backup.WatchRuns, request):
        followed.take(answer)
        if answer.resume_token:
            _ask_for_missed(controller, followed)
        yield answer


def _ask_for_missed(controller: Controller, followed: Followed) -> None:
    for run in _named(controller, followed.missed):
        followed.told(run)


def _named(controller: Controller, run_ids: Collection[str]) -> Iterator[resources_pb2.Run]:
    """Each as it is now."""
    for some in in_batches(sorted(run_ids), MOST_NAMED):
        left = set(some)
        for answer in controller.stream(controller.backup.WatchRuns, operator_pb2.WatchRunsRequest(runs=some)):
            yield answer.run
            left.discard(answer.run.run_id)
            if not left:
                break


class _Counts:
    """Where no terminal is."""

    def __init__(self, output: Output, followed: Followed) -> None:
        self._output = output
        self._followed = followed
        self._clock = SystemClock()
        self._said = ""
        self._next = 0.0

    def __call__(self) -> None:
        now = self._clock.monotonic_seconds()
        if now < self._next and not self._followed.all_over:
            return
        line = self._followed.line()
        if line != self._said:
            self._output.note(line)
            self._said, self._next = line, now + LINE_SECONDS


class _Screen:
    """On a terminal: the counts, and as much as fits of what is under way, waited for, and ended last."""

    def __init__(self, output: Output, followed: Followed) -> None:
        self._console = output.err
        self._followed = followed
        self.live = Live(console=self._console, refresh_per_second=4, transient=True)

    def __call__(self) -> None:
        self.live.update(screen(self._followed.fleet, self._console.height, headline=self._followed.line()))


@contextmanager
def _display(output: Output, followed: Followed) -> "Iterator[_Counts | _Screen]":
    if output.as_json or not output.err.is_terminal:
        yield _Counts(output, followed)
        return
    shown = _Screen(output, followed)
    with shown.live:
        yield shown
