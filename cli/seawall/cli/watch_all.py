"""Following all runs at once: one screen on a terminal, a line per change elsewhere, a JSON document a line for scripts. Until Ctrl-C."""

import json
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.connection import Controller
from seawall.cli.output import STATE_STYLE, Output
from seawall.cli.run_text import detail, left, silence
from seawall.cli.text import between, count, size
from seawall.cli.view import plain, word
from seawall.cli.watch import OVER, answers_until_over

ENDED_SHOWN = 5
WAITING_SHOWN = 5
BAR_WIDTH = 20
FRAME_LINES = 9
"""Of the screen: headline, blank lines and headings around the rows."""


class Fleet:
    """What is open, and what ended last, as the answers told it so far. Pure."""

    def __init__(self) -> None:
        self.open: dict[str, resources_pb2.Run] = {}
        self.ended: deque[resources_pb2.Run] = deque(maxlen=ENDED_SHOWN)
        self.resume_token = ""

    def take(self, answer: operator_pb2.WatchRunsResponse) -> bool:
        """Whether it told of a run."""
        if answer.snapshot:
            self.open.clear()
        if answer.resume_token:
            self.resume_token = answer.resume_token
        if not answer.HasField("run"):
            return False
        run = answer.run
        if run.state in OVER:
            self.open.pop(run.run_id, None)
            if all(run.run_id != known.run_id for known in self.ended):
                self.ended.append(run)
        else:
            self.open[run.run_id] = run
        return True

    @property
    def active(self) -> list[resources_pb2.Run]:
        """Those under way, longest first."""
        return sorted(
            (run for run in self.open.values() if run.state == resources_pb2.RUN_STATE_ACTIVE),
            key=lambda run: (run.created_at.ToMicroseconds(), run.run_id),
        )

    @property
    def waiting(self) -> list[tuple[str, int]]:
        """(what for, how many), most first."""
        waiting = (run for run in self.open.values() if run.state != resources_pb2.RUN_STATE_ACTIVE)
        return Counter(run.blocked_on or "a place" for run in waiting).most_common()


def watch_all(controller: Controller, output: Output, vm: str) -> None:
    """Never returns by itself. A controller that restarts is asked again for two minutes. Raises CommandError."""
    fleet = Fleet()
    answers = _answers(controller, output, fleet, vm)
    if output.as_json:
        for answer in answers:
            if fleet.take(answer):
                sys.stdout.write(json.dumps(plain(answer.run), ensure_ascii=False) + "\n")
                sys.stdout.flush()
    elif output.out.is_terminal:
        _on_screen(output.out, fleet, answers)
    else:
        for answer in answers:
            if fleet.take(answer):
                run = answer.run
                state = word(run, "state").replace("_", " ")
                output.line(": ".join(filter(None, (f"{word(run, 'kind')} of {run.vm_name}", state, detail(run)))))


def _answers(controller: Controller, output: Output, fleet: Fleet, vm: str) -> Iterator[operator_pb2.WatchRunsResponse]:
    def ask() -> Iterator[operator_pb2.WatchRunsResponse]:
        request = operator_pb2.WatchRunsRequest(all=True, vm=vm, resume_token=fleet.resume_token)
        return controller.stream(controller.backup.WatchRuns, request)

    return answers_until_over(output, "runs go on", ask)


def _on_screen(console: Console, fleet: Fleet, answers: Iterator[operator_pb2.WatchRunsResponse]) -> None:
    with Live(console=console, refresh_per_second=4, screen=True) as live:
        for answer in answers:
            fleet.take(answer)
            # After each round: of a snapshot of 20,000 runs, one at a time, most of the time would go into drawing.
            if answer.resume_token:
                live.update(screen(fleet, console.height))


def screen(fleet: Fleet, height: int, headline: str = "") -> RenderableType:
    """All that fits: the runs under way first."""
    active, waiting = fleet.active, fleet.waiting
    total = sum(number for _, number in waiting)
    parts: list[RenderableType] = [
        Text(headline or f"{count(len(active), 'run')} under way, {total} waiting", style="bold"),
        Text(),
    ]
    room = max(height - FRAME_LINES - min(len(waiting), WAITING_SHOWN) - len(fleet.ended), 1)
    parts.append(_active_table(active[:room]))
    if len(active) > room:
        parts.append(Text(f"… and {len(active) - room} more", style="dim"))
    if waiting:
        parts += [Text(), Text("waiting for", style="bold")]
        parts += [
            Text(f"{number:6}  {what}", no_wrap=True, overflow="ellipsis") for what, number in waiting[:WAITING_SHOWN]
        ]
    if fleet.ended:
        parts += [Text(), Text("ended last", style="bold"), *map(_ended, reversed(fleet.ended))]
    return Group(*parts)


def _active_table(runs: Sequence[resources_pb2.Run]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name in ("vm", "host", "bar", "rate", "left", "what"):
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1 if name == "what" else None)
    for run in runs:
        attempt = run.attempts[-1] if run.attempts else resources_pb2.Attempt()
        progress = attempt.progress
        rate = f"{size(progress.rate_bytes_per_second)}/s" if progress.rate_bytes_per_second else ""
        table.add_row(
            Text(run.vm_name, style="bold"), attempt.host_name, _bar(progress), rate, left(progress), Text(_what(run))
        )
    return table


def _bar(progress: resources_pb2.AttemptProgress) -> ProgressBar:
    done = sum(disk.planned_bytes if disk.done else disk.read_bytes for disk in progress.disks)
    total = sum(max(disk.planned_bytes, disk.read_bytes) for disk in progress.disks)
    return ProgressBar(total=max(total, 1), completed=done, width=BAR_WIDTH)


def _what(run: resources_pb2.Run) -> str:
    """What holds it up at this moment, else what bounds it, else what it does."""
    attempt = run.attempts[-1] if run.attempts else resources_pb2.Attempt()
    progress = attempt.progress
    if attempt.HasField("silent_since"):
        return f"{'canceling: ' if run.cancel_requested else ''}{silence(attempt)}"
    if run.cancel_requested:
        return "canceling"
    if run.blocked_on or progress.waiting_on:
        return f"waits for {run.blocked_on or progress.waiting_on}"
    if progress.bottleneck:
        return f"bound by {progress.bottleneck}"
    return progress.phase or "begins"


def _ended(run: resources_pb2.Run) -> Text:
    state = word(run, "state")
    took = between(run.created_at, run.ended_at) if run.HasField("ended_at") else ""
    line = Text.assemble(
        (state.replace("_", " "), STATE_STYLE.get(state, "")), f"  {run.vm_name}  {took}  {detail(run)}"
    )
    line.no_wrap, line.overflow = True, "ellipsis"
    return line
