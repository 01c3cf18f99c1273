"""What passes between a capture and its guard: one JSON object a line. Orders go to its stdin; each gets one report on its stdout.

in:  {"setup": {...}} once, then {"order": "freeze" | "await" | "thaw" | "begun" | "alive" | "checked" | "over"},
     {"order": "begin", "limits": {...}}
out: a Report, when it is ready, after each order, and when it leaves by itself
"""

import dataclasses
import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from seawall.agent.capture.limits import Limits
from seawall.agent.errors import AgentError, FreezeFailed, HypervisorError, ScratchFull, VmStopped

AWAIT_SECONDS = 0.2
"""The longest for which the guard does not hear that its owner died."""
MAX_FAILURES = 5
MAX_FAILURE_CHARACTERS = 300


class Order(Enum):
    """What a capture says."""

    FREEZE = "freeze"  # answered at once; later reports tell how it went
    AWAIT = "await"  # answered once that is known, or after AWAIT_SECONDS
    THAW = "thaw"
    BEGIN = "begin"  # the job is about to be asked for: it may exist from here on
    BEGUN = "begun"  # it exists
    ALIVE = "alive"  # the process is
    CHECKED = "checked"  # and its work goes on
    OVER = "over"  # job and freeze are gone; leave


@dataclass(frozen=True, slots=True)
class Setup:
    """What the guard must know from the start."""

    uri: str
    vm_id: str
    socket: Path
    scratch: Path
    mark: Path
    freeze_seconds: float
    look_seconds: float
    hold_seconds: float = 0.0  # a job whose owner died is kept for so long, for another worker of the same run


@dataclass(frozen=True, slots=True)
class Verdict:
    """An error on its way through a pipe."""

    reason: str
    message: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the guard knows: of the last freeze, and of the job."""

    freezing: bool = False  # asked for, outcome unknown
    frozen: bool = False  # may be, now
    freeze_failure: Verdict | None = None
    overdue: bool = False  # the guard began to thaw before it was told to
    frozen_ms: int | None = None  # from before the freeze was sent until the guest said that it thawed
    freezing_ms: int | None = None  # of these: until the guest said that it froze
    thawing_ms: int | None = None  # from when it was first asked to thaw
    thaw_failures: tuple[str, ...] = ()
    verdict: Verdict | None = None  # why the guard ended the capture


def setup_line(setup: Setup) -> bytes:
    return _line({"setup": {name: _plain(value) for name, value in dataclasses.asdict(setup).items()}})


def parse_setup(line: bytes) -> Setup:
    """Raises ValueError, KeyError or TypeError on anything but what `setup_line` writes."""
    value = json.loads(line)["setup"]
    return Setup(**value | {name: Path(value[name]) for name in ("socket", "scratch", "mark")})


def order_line(order: Order, limits: Limits | None = None) -> bytes:
    return _line({"order": order.value} | ({"limits": dataclasses.asdict(limits)} if limits else {}))


def parse_order(line: bytes) -> tuple[Order, Limits | None]:
    """Raises ValueError, KeyError or TypeError on anything but what `order_line` writes."""
    value = json.loads(line)
    return Order(value["order"]), Limits(**value["limits"]) if "limits" in value else None


def report_line(report: Report) -> bytes:
    """Short enough for a pipe to take it at once."""
    failures = [one[:MAX_FAILURE_CHARACTERS] for one in report.thaw_failures[-MAX_FAILURES:]]
    return _line(dataclasses.asdict(report) | {"thaw_failures": failures})


def parse_report(line: bytes) -> Report:
    """Raises ValueError, KeyError or TypeError on anything but what `report_line` writes."""
    value = json.loads(line)
    for name in ("verdict", "freeze_failure"):
        value[name] = Verdict(**value[name]) if value[name] else None
    return Report(**value | {"thaw_failures": tuple(value["thaw_failures"])})


def verdict_of(error: AgentError) -> Verdict:
    return Verdict(error.reason, str(error), error.next_step)


def error_of(verdict: Verdict) -> AgentError:
    """The inverse."""
    for kind in (ScratchFull, FreezeFailed, VmStopped):
        if verdict.reason == kind.reason:
            return kind(verdict.message, next_step=verdict.next_step)
    return HypervisorError(verdict.message, reason=verdict.reason, next_step=verdict.next_step)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _line(value: dict[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
