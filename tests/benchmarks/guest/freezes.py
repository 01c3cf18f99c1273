"""How long a guest is frozen for a backup: as the agent measures it, whose time it was, and as the guest itself saw it."""

import json
import re
import sys
from collections.abc import Sequence

from deploy.lab.laboratory import Laboratory
from deploy.lab.waiting import LabFailed

from support.paced_guest import PacedGuest

from . import freezing

RUN_DIR, SCRATCH_DIR = "/run/seawall/bench", "/var/lib/seawall/bench"
SECONDS_EACH = 20
_TICK = re.compile(r"^TICK \d+ (\d+)", re.MULTILINE)


def frozen_times(laboratory: Laboratory, guest: PacedGuest, host: str, count: int) -> dict[str, object]:
    """Milliseconds, the shortest first. `guest_saw`: the longest wait of a synced write in each freeze, or between two."""
    said = len(guest.said())
    told = {"vm_id": guest.vm_id, "run_dir": RUN_DIR, "scratch_dir": SCRATCH_DIR, "count": count}
    command = [sys.executable, freezing.__file__, json.dumps(told)]
    output = laboratory.hosts[host].run(command, timeout_seconds=count * SECONDS_EACH).stdout
    lines = whole([json.loads(line) for line in output.splitlines() if line.startswith("{")], count)
    guest.assert_never_failed()
    kinds = ("frozen_ms", "freezing_ms", "snapshot_ms", "thawing_ms", "begin_ms")
    parts = {kind: sorted(line[kind] for line in lines) for kind in kinds}
    parts["guest_saw_ms"] = sorted(_gaps(guest.said()[said:]))
    return {
        "freeze_p99_ms": percentile(parts["frozen_ms"], 99),
        "freezes": {"count": len(lines), **{kind: _summary(values) for kind, values in parts.items()}},
        "freezes_ms": parts["frozen_ms"],
    }


def whole(lines: list[dict[str, float]], count: int) -> list[dict[str, float]]:
    """The lines themselves. Raises LabFailed where a freeze is missing, or had not ended when it was written down: that says 0 ms."""
    ended = sum(1 for line in lines if line["frozen"] and line["frozen_ms"] > 0)
    if ended != count:
        raise LabFailed(f"{ended} of {count} freezes were measured to their end")
    return lines


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many of a hundred do not pass. Sorted; not empty."""
    return values[-(-percent * len(values) // 100) - 1]


def _gaps(console: str) -> list[float]:
    """The longest wait from each freeze's hook to the next one's."""
    parts = re.split(r"^HOOK freeze", console, flags=re.MULTILINE)[1:]
    return [float(max((int(gap) for gap in _TICK.findall(part)), default=0)) for part in parts]


def _summary(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {
        "p50": percentile(values, 50),
        "p90": percentile(values, 90),
        "p99": percentile(values, 99),
        "max": values[-1],
    }
