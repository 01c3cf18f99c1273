"""What passes between supervisor and worker: one JSON object a line. Assignment and orders go in on stdin, events come out on stdout.

in:  {"job": {...}}  {"session": "..."}  {"stop": "canceled" | "fenced" | "agent"}  {"bytes_per_second": n}
out: {"progress": {...}}    {"traffic": {...}}    {"step": "committing" | "resumed" | "finishing"}
     {"end": "succeeded" | "failed" | "canceled" | "fenced" | "unreported"}
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from seawall.agent.config import AgentConfig, config_of, plain
from seawall.agent.control.messages import Assignment, AttemptRef, DiskProgress, Progress
from seawall.agent.limits.traffic import Traffic


class StopReason(Enum):
    """Why a worker shall stop."""

    CANCELED = "canceled"  # the operator asked
    FENCED = "fenced"  # the controller does not know the attempt any more
    AGENT = "agent"  # the agent stops or died


class End(Enum):
    """How a worker ended, in its own words. Without such a word it was killed or crashed."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    FENCED = "fenced"
    UNREPORTED = "unreported"  # it knows how it ended, but the controller could not be told


@dataclass(frozen=True, slots=True)
class Job:
    """A worker's whole input."""

    config: AgentConfig
    agent_id: str
    session_id: str
    supervisor_pid: int
    assignment: Assignment
    bytes_per_second: int = 0
    """Its part of the host's bandwidth, until it is told another; 0: no limit."""


@dataclass(frozen=True, slots=True)
class Ended:
    end: End


class Step(Enum):
    """Where a worker is with its commit. The controller drops a committed attempt from what it wants before its answer arrives here."""

    COMMITTING = "committing"  # asks until answered; what it hears decides, not what the desired set says meanwhile
    RESUMED = "resumed"  # the answer was: chunks are missing; it goes on writing
    FINISHING = "finishing"  # answered for good: it only tidies up, and is not to be killed in haste


Event: TypeAlias = Progress | Traffic | Step | Ended


@dataclass(frozen=True, slots=True)
class NewSession:
    session_id: str


@dataclass(frozen=True, slots=True)
class Stop:
    reason: StopReason


@dataclass(frozen=True, slots=True)
class NewRate:
    """The worker's part of the host's bandwidth; 0: no limit."""

    bytes_per_second: int


Order: TypeAlias = NewSession | Stop | NewRate


def job_line(job: Job) -> bytes:
    value = {
        "config": plain(job.config),
        "agent_id": job.agent_id,
        "session_id": job.session_id,
        "supervisor_pid": job.supervisor_pid,
        "bytes_per_second": job.bytes_per_second,
        "assignment": dataclasses.asdict(job.assignment),
    }
    return _line({"job": value})


def parse_job(line: bytes) -> Job:
    """Raises ValueError, KeyError or TypeError on anything but what `job_line` writes."""
    value = json.loads(line)["job"]
    assignment = value["assignment"]
    ref = AttemptRef(**assignment.pop("ref"))
    return Job(
        config_of(value["config"]),
        value["agent_id"],
        value["session_id"],
        value["supervisor_pid"],
        Assignment(ref=ref, **assignment),
        value.get("bytes_per_second", 0),  # a supervisor of before an upgrade does not know it
    )


def order_line(order: Order) -> bytes:
    if isinstance(order, NewSession):
        return _line({"session": order.session_id})
    if isinstance(order, NewRate):
        return _line({"bytes_per_second": order.bytes_per_second})
    return _line({"stop": order.reason.value})


def parse_order(line: bytes) -> Order:
    value = json.loads(line)
    if "session" in value:
        return NewSession(value["session"])
    if "bytes_per_second" in value:
        return NewRate(int(value["bytes_per_second"]))
    return Stop(StopReason(value["stop"]))


def event_line(event: Event) -> bytes:
    if isinstance(event, Progress):
        return _line({"progress": dataclasses.asdict(event)})
    if isinstance(event, Traffic):
        return _line({"traffic": dataclasses.asdict(event)})
    if isinstance(event, Step):
        return _line({"step": event.value})
    return _line({"end": event.end.value})


def parse_event(line: bytes) -> Event:
    """Raises ValueError, KeyError or TypeError on anything but what `event_line` writes."""
    value = json.loads(line)
    if "progress" in value:
        fields = value["progress"]
        disks = tuple(DiskProgress(**disk) for disk in fields.pop("disks"))
        return Progress(**fields | {"notes": tuple(fields["notes"])}, disks=disks)
    if "traffic" in value:
        return Traffic(**value["traffic"])
    return Step(value["step"]) if "step" in value else Ended(End(value["end"]))


def _line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
