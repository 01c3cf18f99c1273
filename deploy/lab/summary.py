"""What the demo found, as the table that it prints and the file that it writes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.lab.answers import Point, PointDisk

_HEADINGS = ("POINT", "KIND", "DISK", "VIRTUAL", "READ", "NEW", "STORED", "SECONDS", "HOW", "IDENTICAL", "WHY")
_MIB = 1 << 20


@dataclass
class Summary:
    """Filled as the demo goes on. `differences` per point and disk: "" for identical; a disk never compared counts as different."""

    seconds: float = 0.0
    points: list[Point] = field(default_factory=list)
    differences: dict[str, Mapping[str, str]] = field(default_factory=dict)
    restored_guest_ok: bool = False
    leftovers: list[str] = field(default_factory=list)

    def identical(self, point: Point, disk: PointDisk) -> bool:
        return self.differences.get(point.point_id, {}).get(disk.disk) == ""

    @property
    def good(self) -> bool:
        same = all(self.identical(point, disk) for point in self.points for disk in point.disks)
        return same and len(self.points) > 0 and self.restored_guest_ok and not self.leftovers

    def plain(self) -> dict[str, Any]:
        """The documented shape of summary.json."""
        return {
            "seconds": round(self.seconds, 1),
            "points": [
                {
                    "point": point.point_id,
                    "kind": point.kind,
                    "disks": [self._plain_disk(point, disk) for disk in point.disks],
                }
                for point in self.points
            ],
            "restored_guest_ok": self.restored_guest_ok,
            "leftovers": self.leftovers,
        }

    def _plain_disk(self, point: Point, disk: PointDisk) -> dict[str, Any]:
        return {
            "disk": disk.disk,
            "virtual_bytes": disk.size_bytes,
            "read_bytes": disk.read_bytes,
            "new_bytes": disk.new_bytes,
            "stored_bytes": disk.stored_bytes,
            "how": disk.how,
            "why": disk.why,
            "identical": self.identical(point, disk),
        }

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.plain(), indent=2) + "\n")

    def table(self) -> str:
        return _aligned([_HEADINGS, *(self._row(point, disk) for point in self.points for disk in point.disks)])

    def _row(self, point: Point, disk: PointDisk) -> tuple[str, ...]:
        sizes = (disk.size_bytes, disk.read_bytes, disk.new_bytes, disk.stored_bytes)
        return (
            point.point_id[:13],
            point.kind,
            disk.disk,
            *(f"{size / _MIB:.1f} MiB" for size in sizes),
            f"{disk.milliseconds / 1000:.1f}",
            disk.how,
            "yes" if self.identical(point, disk) else "NO",
            disk.why,
        )


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
