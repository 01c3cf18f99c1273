"""The progress of a rescue: a bar per disk on a terminal, a line now and then elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from seawall.cli.output import Output
from seawall.cli.text import duration, size
from seawall.repository.clock import Clock
from seawall.repository.rescue.file_names import printable
from seawall.repository.rescue.progress import RateMeter
from seawall.repository.rescue.restore import DiskRun, DiskState, RescueRun

LINE_SECONDS = 10.0
_FIGURES_WIDTH = 70


@contextmanager
def showing(output: Output, run: RescueRun, clock: Clock) -> Iterator[Callable[[], None]]:
    """What the run calls often; it says where it is. On a terminal a thread draws instead."""
    if output.as_json:
        yield lambda: None
        return
    view = _View(run, clock)
    if not output.err.is_terminal:
        yield _Lines(output, view, clock)
        return
    width = min(max(output.err.width - _FIGURES_WIDTH, 8), 30)
    with Live(
        console=output.err, refresh_per_second=4, transient=True, get_renderable=lambda: Group(*view.rows(width))
    ):
        yield lambda: None


class _View:
    """The figures of a run. Used by one thread."""

    def __init__(self, run: RescueRun, clock: Clock) -> None:
        self._run = run
        self._meter = RateMeter(clock)
        self._meter.tell(0)

    def headline(self) -> str:
        done = sum(disk.done_bytes for disk in self._run.disks)
        total = sum(disk.manifest.size_bytes for disk in self._run.disks)
        self._meter.tell(done)
        parts = [f"{size(done)} of {size(total)}"]
        if self._meter.bytes_per_second:
            parts.append(f"{size(self._meter.bytes_per_second)}/s")
        left = self._meter.seconds_left(total - done)
        if left:
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)

    def rows(self, bar_width: int) -> Iterator[RenderableType]:
        yield Text(self.headline(), no_wrap=True, overflow="ellipsis")
        table = Table.grid(padding=(0, 2))
        for disk in self._run.disks:
            total = max(disk.manifest.size_bytes, 1)
            table.add_row(
                Text(f"  {printable(disk.manifest.disk)}"),
                ProgressBar(total=total, completed=min(disk.done_bytes, total), width=bar_width),
                Text(disk_figures(disk), no_wrap=True, overflow="ellipsis"),
            )
        yield table


class _Lines:
    """Called often; speaks every LINE_SECONDS."""

    def __init__(self, output: Output, view: _View, clock: Clock) -> None:
        self._output = output
        self._view = view
        self._clock = clock
        self._said_seconds = clock.monotonic_seconds()

    def __call__(self) -> None:
        now = self._clock.monotonic_seconds()
        if now - self._said_seconds >= LINE_SECONDS:
            self._said_seconds = now
            self._output.note(self._view.headline())


def disk_figures(disk: DiskRun) -> str:
    """ "1.0 GiB of 20.0 GiB  fetched 300.0 MiB  kept 512.0 MiB"."""
    if disk.state is DiskState.WAITING:
        return f"{size(disk.manifest.size_bytes)}  waits"
    parts = [f"{size(disk.done_bytes)} of {size(disk.manifest.size_bytes)}"]
    parts.append(f"fetched {size(disk.counters.fetched_bytes)}")
    if disk.counters.kept_bytes:
        parts.append(f"kept {size(disk.counters.kept_bytes)}")
    if disk.counters.lost_bytes:
        parts.append(f"lost {size(disk.counters.lost_bytes)}")
    return "  ".join(parts)
