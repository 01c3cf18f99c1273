"""Pins and maintenance jobs."""

import json
from dataclasses import dataclass
from enum import StrEnum


class JobKind(StrEnum):
    COLLECT = "COLLECT"
    CHECK = "CHECK"
    HEAL = "HEAL"


class JobState(StrEnum):
    READY = "READY"
    ACTIVE = "ACTIVE"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"

    @property
    def over(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED)


class PinKind(StrEnum):
    PARENT = "PARENT"
    """An open backup's parent."""
    RESTORE = "RESTORE"
    JOB = "JOB"


@dataclass(frozen=True, slots=True)
class Pin:
    """Keeps a point for as long as its holder (a run or a job) is open. A pin whose holder is over counts no more."""

    id: str
    repository_id: str
    point_id: str
    holder: str
    kind: PinKind
    created_us: int


@dataclass(frozen=True, slots=True)
class Job:
    """One maintenance task of one repository. `request`, `progress`, `result` and `failure` are JSON objects; "" until there is one.

    `failure`: {"reason", "message", "next_step"}. `tries`: how often a worker began with it. `cancel_us`: when somebody wished it over.
    """

    id: str
    repository_id: str
    kind: JobKind
    state: JobState
    request: str
    created_us: int
    progress: str = ""
    result: str = ""
    failure: str = ""
    tries: int = 0
    not_before_us: int = 0
    cancel_us: int = 0
    started_us: int = 0
    ended_us: int = 0
    version: int = 1

    @property
    def because(self) -> str:
        """Why the controller began a CHECK by itself; "" for what somebody ordered."""
        return str(json.loads(self.request or "{}").get("because", "")) if self.kind is JobKind.CHECK else ""
