"""The store's port: runs, attempts and their progress."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Protocol

from seawall.controller.records.runs import EVERY_RUN, Attempt, Progress, Run, RunCounts, RunFilter


class Runs(Protocol):
    """Runs, attempts and progress."""

    def run(self, run_id: str) -> Run | None: ...

    def runs_named(self, text: str) -> Sequence[Run]: ...

    def runs(self, wanted: RunFilter = EVERY_RUN, *, before: str = "", limit: int = 1000) -> Sequence[Run]:
        """Newest first; `before`: only ids smaller than this."""

    def ready(self, now_us: int) -> Sequence[Run]:
        """READY and due, or past their deadline, oldest first."""

    def ready_versions(self, now_us: int) -> dict[str, int]:
        """Id -> version of what `ready` returns."""

    def ready_mark(self, now_us: int) -> Hashable:
        """Another one whenever `ready_versions` is: one row instead of thousands, for whoever looks again and again."""

    def next_due_us(self, now_us: int) -> int:
        """When the next READY run is due that is not yet; 0: there is none."""

    def late(self, now_us: int) -> frozenset[str]:
        """Ids of ACTIVE runs past their deadline."""

    def runs_of(self, run_ids: Sequence[str]) -> Sequence[Run]:
        """In any order; those that there are."""

    def marks(self, ended_since_us: int) -> dict[str, int]:
        """Of runs that are open or ended since: id -> a number that grows with anything that a screen shows of the run."""

    def counts(self, failed_since_us: int) -> RunCounts:
        """Of now; FAILED ones that ended since then."""

    def open_backup(self, vm_id: str, repository_id: str) -> Run | None:
        """The one that is under way, else the one that waits and would begin first."""

    def open_backups(self, vm_ids: Sequence[str], repository_id: str) -> dict[str, Run]:
        """VM id -> the same, of those that have one."""

    def under_way(self, vm_ids: Sequence[str]) -> frozenset[tuple[str, str]]:
        """(VM id, repository id) of the ACTIVE backups of these VMs."""

    def add_run(self, run: Run) -> None: ...

    def add_runs(self, runs: Iterable[Run]) -> None: ...

    def save_run(self, before: Run, after: Run) -> Run:
        """Compare and swap; returns `after` with its new version, or `before` when nothing changed."""

    def old_runs(self, before_us: int, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        """Ids greater than `after`, in order, of runs that are over since before then and left nothing behind: restores, and backups
        that no attempt worked on; but for those of their policy's latest firing.
        """

    def drop_runs(self, run_ids: Sequence[str]) -> None:
        """With their attempts and progress, for good. Of those that `old_runs` names."""

    def drop_progress(self, before_us: int, *, limit: int) -> int:
        """What attempts of before then reported, and how many were dropped. `marks` of their runs fall."""

    def attempt(self, attempt_id: str) -> Attempt | None: ...

    def attempts_of(self, run_ids: Sequence[str]) -> Sequence[Attempt]:
        """By run and number."""

    def attempts_by_id(self, attempt_ids: Sequence[str]) -> Sequence[Attempt]:
        """In any order; those that there are."""

    def live_attempts(self, host_id: str = "") -> Sequence[Attempt]: ...

    def live_of_hosts(self, host_ids: Sequence[str]) -> Sequence[Attempt]:
        """Live attempts of these hosts."""

    def live_versions(self) -> dict[str, int]:
        """Id -> version of what `live_attempts` returns, in its order."""

    def pulse(self) -> dict[str, int]:
        """State -> live attempts in it: another answer after most attempts that began, moved or ended. A hint for those who wait."""

    def add_attempt(self, attempt: Attempt) -> None: ...

    def save_attempt(self, before: Attempt, after: Attempt) -> Attempt: ...

    def progress_of(self, attempt_ids: Sequence[str]) -> dict[str, Progress]: ...

    def save_progress(self, attempt_id: str, progress: Progress, now_us: int) -> None:
        """An older sequence number than the stored one changes nothing."""

    def save_progress_of(self, reports: Mapping[str, Progress], now_us: int) -> None:
        """The same, of many attempts."""
