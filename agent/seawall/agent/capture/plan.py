"""Deciding how each disk is read, and why. Pure: facts in, plan out.

`bitmap` reads what QEMU's dirty bitmap names; `compare` reads all and uploads what differs from the parent point; `full` reads all,
there being no parent. A doubtful bitmap costs local reads of that one disk and never fails a backup.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from seawall.agent.capture.doubts import doubt_of, file_doubt
from seawall.agent.capture.facts import CaptureFacts, in_parent, is_moved
from seawall.agent.capture.port import CapturedDisk
from seawall.agent.hypervisor.port import DomainDisk
from seawall.repository.disks import DiskSource
from seawall.repository.format.manifest import Root

BITMAP_WHY = "A dirty bitmap names what changed since the parent point."
MOVED_BITMAP_WHY = (
    "The VM moved here; the dirty bitmap in the disk's file came with it and names what changed since the parent point."
)
OFF_BITMAP_WHY = "The VM is off; a dirty bitmap in the disk's file names what changed since the parent point."
SIZE_CHANGED_WHY = "The disk's size changed while the backup began."


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """One disk of the job. `why`: one sentence for the operator."""

    disk: DomainDisk
    how: str  # "bitmap", "compare", "full"
    why: str
    tracked: bool  # gets a bitmap for the next time

    def compared(self, why: str) -> "DiskPlan":
        """The same disk without its bitmap."""
        return replace(self, how="compare", why=why)

    def captured(self, source: DiskSource, source_id: str) -> CapturedDisk:
        """The disk, once it is open at the instant."""
        return CapturedDisk(
            target=self.disk.target,
            size_bytes=source.size_bytes,
            format=self.disk.format,
            source_path=self.disk.source,
            sector_bytes=self.disk.sector_bytes,
            how=self.how,
            why=self.why,
            source=source,
            source_id=source_id,
        )


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """`base`: the parent's checkpoint, when any disk is read by bitmap. `warnings`: disks that the point will lack."""

    disks: tuple[DiskPlan, ...]
    base: str | None
    warnings: tuple[tuple[str, str], ...]


def plan_capture(facts: CaptureFacts) -> CapturePlan:
    """How every disk of the VM takes part, or why it does not."""
    disks: list[DiskPlan] = []
    warnings: list[tuple[str, str]] = []
    for disk in facts.domain.disks:
        absent = _left_out(disk, facts.exclude)
        if absent is None:
            disks.append(_plan_disk(disk, facts))
        elif absent[0]:
            warnings.append(absent)
    base = _base_name(facts.parent) if any(one.how == "bitmap" for one in disks) else None
    return CapturePlan(tuple(disks), base, tuple(warnings))


def demote(plan: CapturePlan, target: str, reason: str) -> CapturePlan:
    """The same plan without the bitmap of one disk (target "" = of any): it is compared instead."""
    disks = tuple(
        one.compared(reason) if one.how == "bitmap" and target in ("", one.disk.target) else one for one in plan.disks
    )
    base = plan.base if any(one.how == "bitmap" for one in disks) else None
    return CapturePlan(disks, base, plan.warnings)


def _left_out(disk: DomainDisk, exclude: Collection[str]) -> tuple[str, str] | None:
    """A warning (empty when no data is lost) for a disk that takes no part; None for one that does."""
    if disk.device in ("cdrom", "floppy") or not disk.source:
        return ("", "")
    if disk.target in exclude:
        return ("DISK_EXCLUDED", f"Disk {disk.target} is not in this point: the policy excludes it.")
    if disk.transient:
        return (
            "DISK_TRANSIENT",
            f"Disk {disk.target} is not in this point: it is transient, its changes end with the VM.",
        )
    if disk.shareable:
        return (
            "DISK_SHAREABLE",
            f"Disk {disk.target} is not in this point: it is shareable, another VM may write to it at any instant.",
        )
    if disk.device != "disk":
        return ("DISK_PASSED_THROUGH", f"Disk {disk.target} is not in this point: QEMU cannot back up a {disk.device}.")
    if disk.read_only:
        return ("DISK_READ_ONLY", f"Disk {disk.target} is not in this point: it is read-only, the VM never changes it.")
    return None


def _plan_disk(disk: DomainDisk, facts: CaptureFacts) -> DiskPlan:
    keeps = disk.format == "qcow2" and facts.keeps_bitmaps.get(disk.target, False)
    tracked = keeps and facts.stored is None  # libvirt makes no checkpoint of a VM that is off
    before = in_parent(disk.target, facts.parent)
    if facts.parent is None:
        return DiskPlan(disk, "full", facts.no_parent or "This VM has no earlier point in this repository.", tracked)
    if before is None:
        return DiskPlan(disk, "full", "This disk is new: the parent point lacks it.", tracked)
    doubt = doubt_of(disk, before, facts)
    return DiskPlan(disk, "compare" if doubt else "bitmap", doubt or _bitmap_why(facts), tracked)


def _bitmap_why(facts: CaptureFacts) -> str:
    if is_moved(facts):
        return MOVED_BITMAP_WHY
    return BITMAP_WHY if facts.stored is None else OFF_BITMAP_WHY


def to_take_over(facts: CaptureFacts) -> tuple[str, ...]:
    """Disks of a running VM that moved here whose bitmap serves, if the file still has it. Nothing that it does not know here is listed."""
    checkpoint = facts.parent.checkpoint if facts.parent else None
    if checkpoint is None or not is_moved(facts) or facts.stored is not None or checkpoint.name in facts.bases:
        return ()
    return tuple(
        disk.target
        for disk in facts.domain.disks
        if (before := in_parent(disk.target, facts.parent)) is not None
        and _left_out(disk, facts.exclude) is None
        and not file_doubt(disk, before, facts)
        and disk.target in checkpoint.disks
    )


def _base_name(parent: Root | None) -> str | None:
    return parent.checkpoint.name if parent and parent.checkpoint else None
