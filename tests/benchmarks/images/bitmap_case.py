"""The next day of a qcow2 disk whose bitmap knows what was written; then about 100 MB of scattered writes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from .cases import BITMAP
from .comparing import compare
from .dirty_writes import GRANULARITY, Dirty, Write, differences, dirty_of, write_through_qemu
from .fleet import Fleet
from .image_file import copy_sparse, run
from .making import image
from .measured import RGW, Row
from .offline_vm import OfflineVm
from .places import DISKS, IMAGES, WRITES
from .recipe import MIB
from .seawall_tool import Seawall
from .targets import BucketTarget

_ALLOWANCE_BYTES = 256 << 10
_SCATTERED = 1600
"""Pieces of 64 KiB: 100 MiB."""
_VM = "web2"


@dataclass(frozen=True)
class BitmapRead:
    """What one backup by bitmap read. `allowed_bytes`: dirty + 256 KiB per dirty extent.

    `qemu_count_bytes`: what QEMU's bitmap said before it.
    """

    read_bytes: int
    dirty_bytes: int
    dirty_extents: int
    allowed_bytes: int
    within: bool
    how: str
    wall_seconds: float
    qemu_count_bytes: int


@dataclass(frozen=True)
class BitmapFigures:
    """`next_day`: the same change as the case next_day; `scattered`: 1,600 pieces of 64 KiB."""

    next_day: BitmapRead
    scattered: BitmapRead

    def plain(self) -> dict[str, dict[str, object]]:
        return {"next_day": asdict(self.next_day), "dirty_100_mib": asdict(self.scattered)}


class _Steps:
    def __init__(self, fleet: Fleet, number: int) -> None:
        self.fleet = fleet
        self.number = number
        self.seawall = Seawall(fleet, "bitmap", BucketTarget(fleet.store, "seawall-bitmap"), RGW)
        self.vm = OfflineVm(fleet, _VM, "qcow2")

    def begin(self) -> None:
        """The clone as qcow2, backed up once: from then on there is a checkpoint with a bitmap."""
        self.seawall.make_repository("s3://seawall-bitmap")
        DISKS.mkdir(parents=True, exist_ok=True)
        self.vm.disk.unlink(missing_ok=True)
        copy_sparse(_clone_as_qcow2(), self.vm.disk)
        self.vm.turn_on()
        self.seawall.backup("clone", self.number, self.vm)

    def backup_after(self, case: str, source: str, writes: list[Write]) -> tuple[Row, BitmapRead]:
        shutil.rmtree(WRITES, ignore_errors=True)
        WRITES.mkdir(parents=True)
        write_through_qemu(self.fleet.hypervisor, _VM, image(source), writes, WRITES)
        counted = self._count()
        row = self.seawall.backup(case, self.number, self.vm, warm=False)
        return row, self._figures(row, dirty_of(writes), counted)

    def _figures(self, row: Row, dirty: Dirty, counted: int) -> BitmapRead:
        disk = self.seawall.points[row.case].disks[0]
        allowed = dirty.bytes + dirty.extents * _ALLOWANCE_BYTES
        within = disk.read_bytes <= allowed
        return BitmapRead(
            disk.read_bytes, dirty.bytes, dirty.extents, allowed, within, disk.how, round(row.wall_seconds, 3), counted
        )

    def _count(self) -> int:
        """What the newest bitmap calls dirty now, in bytes. Older ones count from earlier on: the newest has the least."""
        said = self.fleet.hypervisor.virsh("qemu-monitor-command", _VM, '{"execute": "query-named-block-nodes"}')
        nodes = json.loads(said)["return"]
        return min((bitmap["count"] for node in nodes for bitmap in node.get("dirty-bitmaps", [])), default=0)

    def check(self, case: str, truth: str) -> None:
        _, restored = self.seawall.restore(case, self.number)
        raw = restored.with_suffix(".compare")
        run("qemu-img", "convert", "-O", "raw", str(restored), str(raw))
        compare(f"seawall, {case}", image(truth), raw)
        restored.unlink()


def next_day_by_bitmap(fleet: Fleet, number: int, keep: Callable[[Row], None]) -> BitmapFigures:
    """Raises WrongBytes when the point by bitmap is not the next day."""
    steps = _Steps(fleet, number)
    steps.begin()
    row, next_day = steps.backup_after(BITMAP, "next_day", differences(image("clone"), image("next_day")))
    keep(row)
    if number == 1:
        steps.check(BITMAP, "next_day")
    _, scattered = steps.backup_after("scattered", "independent", _scattered())
    steps.vm.turn_off()
    steps.vm.disk.unlink()
    return BitmapFigures(next_day, scattered)


def _scattered() -> list[Write]:
    """Evenly spread, never neighbours: the most extents that 100 MiB can have."""
    size = image("clone").stat().st_size
    apart = size // _SCATTERED // GRANULARITY * GRANULARITY
    return [Write(place * apart + 4 * MIB, GRANULARITY) for place in range(_SCATTERED - 4)]


def _clone_as_qcow2() -> Path:
    made = IMAGES / "clone.qcow2"
    if not made.exists():
        unfinished = IMAGES / ".clone.qcow2"
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(image("clone")), str(unfinished))
        unfinished.rename(made)
    return made
