"""One timed step of one tool: the rows that the report is made of."""

from dataclasses import asdict, dataclass, field
from typing import Any

BACKUP_CASES = ("full", "clone", "next_day", "rewritten", "next_day_bitmap", "independent")
RESTORE = "restore"
CASES = (*BACKUP_CASES, RESTORE)

SEAWALL, RESTIC, BORG = "seawall", "restic", "borg"
RGW, FOLDER = "rgw", "folder"


@dataclass(frozen=True)
class Row:
    """Seconds, MiB and bytes. `cpu_seconds`: all processes of the tool; Seawall's parts of it are in `cpu_parts`. `store_cpu_seconds`
    is the gateway's own. `stored_bytes`: what the step added to the bucket or folder. `peak_mib`: all processes of the tool together."""

    tool: str
    target: str
    case: str
    round: int
    wall_seconds: float
    cpu_seconds: float
    peak_mib: float
    stored_bytes: int
    store_cpu_seconds: float = 0.0
    requests: dict[str, int] = field(default_factory=dict)
    cpu_parts: dict[str, float] = field(default_factory=dict)
    worker_peak_mib: float = 0.0

    def plain(self) -> dict[str, Any]:
        return {key: _rounded(value) for key, value in asdict(self).items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return value
