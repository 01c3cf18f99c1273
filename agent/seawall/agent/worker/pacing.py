"""At what pace a backup reads, and what it says of that: the guest's latency, the VM's limits, the host's."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

from seawall.agent.capture.port import Capture
from seawall.agent.capture.scratch_plan import plan_after
from seawall.agent.control.messages import BackupGrant, Progress
from seawall.agent.throttle.bucket_pace import BucketPace
from seawall.agent.throttle.guest import GuestWatch
from seawall.agent.throttle.host_limit import host_limit
from seawall.agent.throttle.stacked import PacedSource, StackedPace
from seawall.agent.worker.task import Task
from seawall.repository.disks import DiskSource
from seawall.repository.standing_back import stand_back

BEHIND_GUESTS = 10
"""Nice value, as guests run at 0. Each QEMU is a session, and each worker."""
SESSION_BEHIND_GUESTS = 5
"""A session of this value counts a third of a guest: where many want the processors a backup shall end all the same."""


class Pacing:
    """Of one attempt; a context manager. Nothing is held back before `begin`, but the guest is looked at from the first moment."""

    def __init__(self, task: Task, grant: BackupGrant) -> None:
        self._task, self._grant = task, grant
        quota_said = bool(grant.scratch_quota_bytes or task.job.config.scratch_quota_bytes)
        self.plan = plan_after(grant.scratch_ends, quota_said=quota_said, ceiling_said=grant.latency_ceiling_ms > 0)
        counts = task.adapters.block_counts
        look = None if counts is None else lambda: counts(grant.vm_id)
        self._watch = GuestWatch(look, task.clock, task.stop.check)
        self._limit = BucketPace(task.clock, task.stop.check, lambda: f"the limit of {self._limit_text()}")
        self._limit.limit_bytes(grant.bytes_per_second or math.inf)
        self._limit.limit_requests(grant.iops or math.inf)
        config = task.job.config
        self._host = host_limit(config.run_dir, config.bytes_per_second, config.iops, task.clock, task.stop.check)
        self._own = [self._watch.pace, self._limit, *([self._host] if self._host is not None else [])]
        self._stacked = StackedPace(self._own)
        self._capture: Capture | None = None

    def __enter__(self) -> Self:
        self._watch.__enter__()
        self._task.reporter.paced_by(self._told)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.__exit__(kind, error, trace)

    def know_in_peace(self) -> None:
        """Just before the snapshot, where the ceiling follows from what the guest's requests take in peace."""
        if not self._grant.latency_ceiling_ms:
            self._watch.know_in_peace(self._task.stop.pause)

    def begin(self, capture: Capture) -> None:
        """The snapshot is taken: from now on what the guest's requests take decides, and this thread, with all that it starts, stands back.

        Not before: whatever slows the snapshot makes a freeze longer.
        """
        self._capture = capture
        stand_back(BEHIND_GUESTS, SESSION_BEHIND_GUESTS)
        self._watch.hold_back(self._grant.latency_ceiling_ms, self.plan.times_idle)

    def paced(self, source: DiskSource) -> DiskSource:
        return PacedSource(source, self._stacked)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """An error inside lets go of whoever waits here: the writer waits for its threads before it tells the error."""
        try:
            yield
        except BaseException:
            for pace in self._own:
                pace.stop()
            self._task.bucket.stop()
            raise

    def _told(self, progress: Progress) -> Progress:
        held_back = sum(pace.held_back_seconds for pace in self._own)
        return replace(
            progress,
            waiting_on=progress.waiting_on or self._stacked.waiting_on,
            notes=self._notes(),
            held_back_ms=round(held_back * 1000),
            frozen_ms=self._capture.frozen.total_ms if self._capture is not None else 0,
        )

    def _notes(self) -> tuple[str, ...]:
        said = [self.plan.sentence, self._watch.summary()]
        if self._limit.held_back_seconds >= 1.0:
            said.append(f"Reading waited {self._limit.held_back_seconds:.0f} s for the limit of {self._limit_text()}.")
        if self._host is not None and self._host.held_back_seconds >= 1.0:
            said.append(f"Reading waited {self._host.held_back_seconds:.0f} s for the limit of this host.")
        if self._capture is not None:
            said.append(self._capture.frozen.sentence)
        return tuple(one for one in said if one)

    def _limit_text(self) -> str:
        limits = [f"{self._grant.bytes_per_second / 1_000_000:.1f} MB/s"] if self._grant.bytes_per_second else []
        limits += [f"{self._grant.iops} requests a second"] if self._grant.iops else []
        return " and ".join(limits)
