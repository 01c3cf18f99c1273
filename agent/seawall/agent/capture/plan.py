"""Deciding how each disk is read, and why. Pure: facts in, plan out.

`bitmap` reads what QEMU's dirty bitmap names; `compare` reads all and uploads what differs from the parent point; `full` reads all,
there being no parent. A doubtful bitmap costs local reads of that one disk and never fails a backup.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from seawall.agent.capture.port import CapturedDisk
from seawall.agent.disk.identity import tells_of_writes
from seawall.agent.hypervisor.port import Domain, DomainDisk
from seawall.repository.disks import DiskSource
from seawall.repository.format.manifest import DiskManifest, Root

BITMAP_WHY = "A dirty bitmap names what changed since the parent point."
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


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """What the plan depends on."""

    domain: Domain
    keeps_bitmaps: Mapping[str, bool]  # target -> the file is qcow2 of version 3
    parent: Root | None
    bases: Mapping[str, Collection[str]]  # checkpoints on this host -> targets with a bitmap in it
    agent_id: str
    exclude: Collection[str]
    no_parent: str = ""  # why there is none
    source_ids: Mapping[str, str] = field(default_factory=dict)  # paths of the parent's disks -> the files there now
    stored: Mapping[str, Collection[str]] | None = None  # of a VM that is off: target -> usable bitmaps in its file


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
    before = _in_parent(disk.target, facts.parent)
    if facts.parent is None:
        return DiskPlan(disk, "full", facts.no_parent or "This VM has no earlier point in this repository.", tracked)
    if before is None:
        return DiskPlan(disk, "full", "This disk is new: the parent point lacks it.", tracked)
    doubt = _doubt(disk, before, facts, keeps)
    why = BITMAP_WHY if facts.stored is None else OFF_BITMAP_WHY
    return DiskPlan(disk, "compare" if doubt else "bitmap", doubt or why, tracked)


def _doubt(disk: DomainDisk, before: DiskManifest, facts: CaptureFacts, keeps: bool) -> str:
    """Why the bitmap cannot be used; "" when it can."""
    checkpoint = facts.parent.checkpoint if facts.parent else None
    if disk.format != "qcow2":
        return f"{disk.format.capitalize()} disks store no dirty bitmap."
    if not keeps:
        return "The file is qcow2 of version 2, which stores no dirty bitmap; `qemu-img amend -o compat=1.1` lifts it."
    if checkpoint is None:
        return "The parent point has no checkpoint."
    if checkpoint.agent_id != facts.agent_id:
        return "The parent point's checkpoint was made on another host."
    if checkpoint.name not in facts.bases:
        return f"The parent point's checkpoint {checkpoint.name} is gone from this host."
    if disk.target not in checkpoint.disks or disk.target not in facts.bases[checkpoint.name]:
        return "The parent point's checkpoint has no bitmap of this disk."
    if disk.capacity_bytes != before.size_bytes:
        return f"The disk's size changed from {before.size_bytes} to {disk.capacity_bytes} bytes."
    if before.source not in (disk.source, *(disk.backing if facts.stored is None else ())):
        # Another disk of this VM may lie here now, with a bitmap of the same name that tells of its own past. Each layer of a chain has
        # a bitmap of this name, which a running QEMU adds up, and nobody while the VM is off.
        return f"The disk was {before.source} in the parent point and is {disk.source} now."
    if before.source_id and facts.source_ids.get(before.source) != before.source_id:
        return _another(before)
    if facts.stored is not None and checkpoint.name not in facts.stored.get(disk.target, ()):
        return broken_why(checkpoint.name)
    return ""


def _another(before: DiskManifest) -> str:
    if not tells_of_writes(before.source_id):
        return f"The file {before.source} is another one than at the parent point."
    # The bitmap is older than the parent point: in a copy from between the two, put back, it says nothing of what the parent saw since.
    return f"The parent point was taken while the VM was off, and {before.source} was written since: its bitmap is of a point before."


def broken_why(checkpoint: str) -> str:
    """Why a disk is compared whose bitmap was not closed."""
    return f"The dirty bitmap since {checkpoint} is missing or inconsistent, as after a power loss or a killed QEMU."


def _in_parent(target: str, parent: Root | None) -> DiskManifest | None:
    return next((one for one in parent.disks if one.disk == target), None) if parent else None


def _base_name(parent: Root | None) -> str | None:
    return parent.checkpoint.name if parent and parent.checkpoint else None
