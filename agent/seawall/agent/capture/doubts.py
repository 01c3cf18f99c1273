"""Whether a disk's dirty bitmap tells of all that changed since the parent point. Pure; each doubt is one sentence for the operator.

A bitmap is sound by itself whoever ran the VM meanwhile: QEMU loads it with the file, wherever the VM runs, and marks it as broken where it
was not closed; tools that know nothing of bitmaps clear the bit of the header by which it counts. Its name was given once and is never
given again. So what is looked at is whether the file is the one that had the bitmap when the parent point was taken.
"""

from seawall.agent.capture.facts import CaptureFacts, is_moved
from seawall.agent.disk.identity import tells_of_writes
from seawall.agent.hypervisor.port import DomainDisk
from seawall.repository.format.manifest import DiskManifest


def doubt_of(disk: DomainDisk, before: DiskManifest, facts: CaptureFacts) -> str:
    """Why the bitmap cannot be used; "" when it can."""
    return file_doubt(disk, before, facts) or _checkpoint_doubt(disk, facts)


def _checkpoint_doubt(disk: DomainDisk, facts: CaptureFacts) -> str:
    checkpoint = facts.parent.checkpoint if facts.parent else None
    if checkpoint is None:
        return "The parent point has no checkpoint."
    if disk.target not in checkpoint.disks:
        return "The parent point's checkpoint has no bitmap of this disk."
    if not is_moved(facts) or facts.stored is None:
        if checkpoint.name not in facts.bases:
            return _not_listed(checkpoint.name, facts)
        if disk.target not in facts.bases[checkpoint.name]:
            return "The parent point's checkpoint has no bitmap of this disk."
    if facts.stored is not None and checkpoint.name not in facts.stored.get(disk.target, ()):
        return broken_why(checkpoint.name)
    return ""


def _not_listed(name: str, facts: CaptureFacts) -> str:
    if is_moved(facts):
        return f"The parent point was taken on another host, and the disk's file has no sound dirty bitmap {name}."
    return f"The parent point's checkpoint {name} is gone from this host."


def file_doubt(disk: DomainDisk, before: DiskManifest, facts: CaptureFacts) -> str:
    """Why a bitmap in the disk's file would not tell of this disk since the parent point."""
    keeps = facts.keeps_bitmaps.get(disk.target, False)
    if disk.format != "qcow2":
        return f"{disk.format.capitalize()} disks store no dirty bitmap."
    if not keeps:
        return "The file is qcow2 of version 2, which stores no dirty bitmap; `qemu-img amend -o compat=1.1` lifts it."
    if disk.capacity_bytes != before.size_bytes:
        return f"The disk's size changed from {before.size_bytes} to {disk.capacity_bytes} bytes."
    layers = disk.backing if facts.stored is None and not is_moved(facts) else ()
    if before.source not in (disk.source, *layers):
        # Another disk of this VM may lie here now, with a bitmap of the same name that tells of its own past. Each layer of a chain has
        # a bitmap of this name, which a running QEMU adds up, and nobody while the VM is off.
        return f"The disk was {before.source} in the parent point and is {disk.source} now."
    if before.source_id and facts.source_ids.get(before.source) != before.source_id:
        return _another(before)
    if is_moved(facts) and not before.source_id:
        return f"The parent point was taken on another host, and nothing tells that {disk.source} is the same storage here."
    return ""


def _another(before: DiskManifest) -> str:
    if not tells_of_writes(before.source_id):
        return f"The file {before.source} is another one than at the parent point."
    # The bitmap is older than the parent point: in a copy from between the two, put back, it says nothing of what the parent saw since.
    return f"The parent point was taken while the VM was off, and {before.source} was written since: its bitmap is of a point before."


def broken_why(checkpoint: str) -> str:
    """Why a disk is compared whose bitmap was not closed."""
    return f"The dirty bitmap since {checkpoint} is missing or inconsistent, as after a power loss or a killed QEMU."
