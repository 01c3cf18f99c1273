"""build/bench/images.json, and the table that people read."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .measured import BORG, CASES, FOLDER, RESTIC, Row
from .ratios import case_ratios, medians, rgw_ratios

_COLUMNS = (
    "target",
    "case",
    "tool",
    "wall_seconds",
    "cpu_seconds",
    "store_cpu_seconds",
    "peak_mib",
    "stored_mib",
    "requests",
)
_RATIOS = ("wall_ratio", "cpu_ratio", "stored_ratio")

Ratios = Mapping[str, Mapping[str, float | None]]


@dataclass
class Findings:
    """All that a run of the bench found out."""

    rows: list[Row] = field(default_factory=list)
    images: dict[str, Any] = field(default_factory=dict)
    bitmap: list[dict[str, Any]] = field(default_factory=list)
    worker_peak_mib: dict[str, float] = field(default_factory=dict)
    controller_idle: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        return {
            "machine": machine(),
            "cases": rgw_ratios(self.rows),
            "worker_peak_mib": self.worker_peak_mib,
            "controller_idle": self.controller_idle,
            "folder": case_ratios(self.rows, FOLDER, RESTIC),
            "borg": case_ratios(self.rows, FOLDER, BORG),
            "bitmap": self.bitmap,
            "images": self.images,
            "seconds": round(self.seconds),
            "medians": medians(self.rows),
            "rows": [row.plain() for row in self.rows],
        }

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(self.document(), indent=2) + "\n")
        new.replace(path)

    def table(self) -> str:
        parts = [
            _medians_table(medians(self.rows)),
            _ratios_table("Seawall / restic, Ceph RGW", rgw_ratios(self.rows)),
            _ratios_table("Seawall / restic, folder", case_ratios(self.rows, FOLDER, RESTIC)),
            _ratios_table("Seawall / borg, folder", case_ratios(self.rows, FOLDER, BORG)),
            *(f"bitmap: {json.dumps(each)}" for each in self.bitmap),
            f"worker's peak, MiB: {self.worker_peak_mib}   controller idle: {self.controller_idle}",
        ]
        return "\n\n".join(part for part in parts if part)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    text = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(pages / (1 << 30), 1),
        "kernel": platform.release(),
        "load_at_end": [round(each, 2) for each in os.getloadavg()],
    }


def _medians_table(lines: Sequence[Mapping[str, Any]]) -> str:
    heads = ("into", "case", "tool", "wall s", "CPU s", "store CPU s", "peak MiB", "stored MiB", "requests")
    texts = [[str(line[column]) for column in _COLUMNS] for line in lines]
    return _columns([heads, *texts], left=3) if lines else ""


def _ratios_table(title: str, ratios: Ratios) -> str:
    if not ratios:
        return ""
    lines = [[case, *(_figure(ratios[case][name]) for name in _RATIOS)] for case in CASES if case in ratios]
    return _columns([(title, "wall", "CPU", "stored"), *lines], left=1)


def _figure(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3f}"


def _columns(lines: Sequence[Sequence[str]], left: int) -> str:
    """The first `left` columns are words, the others numbers."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(_cells(line, widths, left)) for line in lines)


def _cells(line: Sequence[str], widths: Sequence[int], left: int) -> list[str]:
    words = [text.ljust(width) for text, width in zip(line[:left], widths[:left], strict=True)]
    return [*words, *(text.rjust(width) for text, width in zip(line[left:], widths[left:], strict=True))]
