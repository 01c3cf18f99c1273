"""The store's port: maintenance jobs."""

from collections.abc import Sequence
from typing import Protocol

from seawall.controller.records.maintenance import Job


class Jobs(Protocol):
    """Maintenance jobs."""

    def job(self, job_id: str) -> Job | None: ...

    def jobs_named(self, text: str) -> Sequence[Job]: ...

    def jobs(self, *, repository_id: str = "", before: str = "", limit: int = 1000) -> Sequence[Job]:
        """Newest first; `before`: only ids smaller than this."""

    def newest_because(self, repository_id: str, because: str) -> Job | None:
        """Of those that the controller began by itself, however many others came since. `because` as in `Job`, not ""."""

    def open_jobs(self) -> Sequence[Job]:
        """READY and ACTIVE ones, oldest first."""

    def add_job(self, job: Job) -> None: ...

    def drop_job(self, job_id: str) -> None:
        """From the list, for good. For jobs that are over."""

    def save_job(self, before: Job, after: Job) -> Job:
        """Compare and swap; returns `after` with its new version, or `before` when nothing changed."""
