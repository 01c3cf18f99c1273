"""What the public CLI answers with --json, as far as the laboratory needs it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

TRANSFERRING_OR_LATER = ("transferring", "publishing", "succeeded")
"""States of an attempt whose instant is fixed: what the guest writes from now on is not in the point."""


@dataclass(frozen=True)
class Run:
    """One run: its state, its newest attempt's state, the point that it made or read."""

    run_id: str
    state: str
    attempt_state: str
    point_id: str
    failure: str

    @property
    def over(self) -> bool:
        return self.state in ("succeeded", "succeeded_with_warnings", "failed", "canceled")

    @property
    def succeeded(self) -> bool:
        return self.state in ("succeeded", "succeeded_with_warnings")


@dataclass(frozen=True)
class PointDisk:
    """One disk of a point: quantities in bytes and milliseconds."""

    disk: str
    size_bytes: int
    read_bytes: int
    new_bytes: int
    stored_bytes: int
    how: str
    why: str
    milliseconds: int


@dataclass(frozen=True)
class Point:
    """One restore point."""

    point_id: str
    incremental: bool
    instant: datetime
    disks: tuple[PointDisk, ...]

    @property
    def kind(self) -> str:
        return "incremental" if self.incremental else "full"


def parse_run(answer: Any) -> Run:
    """A run by itself, or the only one in a list of runs."""
    run = answer["runs"][0] if "runs" in answer else answer
    attempts = run["attempts"] or []
    failure = run.get("failure") or {}
    said = " ".join(failure[key] for key in ("reason", "message", "next_step") if failure.get(key))
    return Run(run["run_id"], run["state"], attempts[-1]["state"] if attempts else "", run["point_id"], said)


def parse_point(point: Any) -> Point:
    disks = tuple(
        PointDisk(**{name: disk[name] for name in PointDisk.__dataclass_fields__})
        for disk in sorted(point["disks"], key=lambda disk: str(disk["disk"]))
    )
    return Point(point["point_id"], point["incremental"], datetime.fromisoformat(point["instant"]), disks)
