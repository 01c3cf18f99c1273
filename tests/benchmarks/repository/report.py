"""build/bench/repository.json, and the table that people read."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.images.report import machine

TARGETS = {
    "encode_vs_zstd_limit": ("at least", 0.8),
    "unchanged_mb_per_s": ("at least", 1000.0),
    "restore_speedup_vs_restic": ("at least", 3.0),
    "collect_ratio_vs_restic_prune": ("at most", 0.2),
}


FIGURES = (*TARGETS, "index", "random_read_ms")
"""What stands at the top of the report."""


@dataclass
class Findings:
    """`figures`: what the issue asks for; `ran`: per part, on which data and how often, every attempt with it."""

    figures: dict[str, Any] = field(default_factory=dict)
    ran: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        return {
            **self.figures,
            "targets": {name: f"{word} {value}" for name, (word, value) in TARGETS.items()},
            "machine": machine(),
            "seconds": round(self.seconds),
            "ran": self.ran,
        }

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(self.document(), indent=2) + "\n")
        new.replace(path)

    def table(self) -> str:
        lines = []
        for name, value in self.figures.items():
            word, target = TARGETS.get(name, ("", None))
            wanted = f"  (wanted: {word} {target})" if target is not None else ""
            lines.append(f"{name:32} {value}{wanted}")
        return "\n".join(lines)
