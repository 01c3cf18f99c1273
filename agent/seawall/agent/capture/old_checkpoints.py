"""After a commit: of our checkpoints of this VM and repository only the new one and its base stay.

libvirt's list can be lost while QEMU's bitmaps live on, as when the VM was defined anew: those bitmaps slow the
guest's writes and serve nobody, so they go too.
"""

from collections.abc import Iterable

from seawall.agent.capture.names import repository_prefix
from seawall.agent.capture.port import CaptureRequest
from seawall.agent.disk.qcow2_bitmaps import stored_bitmaps
from seawall.agent.hypervisor.port import DomainDisk, Hypervisor


def delete_old_checkpoints(hypervisor: Hypervisor, request: CaptureRequest, new: str) -> None:
    """`new`: the checkpoint of the committed point. Foreign ones and those of other repositories stay. Raises AgentError."""
    prefix = repository_prefix(request.repository_id)
    base = request.parent.checkpoint if request.parent else None
    kept = {new, base.name if base else ""}
    listed = {one.name for one in hypervisor.checkpoints(request.vm_id)}
    for name in sorted(listed - kept):
        if name.startswith(prefix):
            hypervisor.delete_checkpoint(request.vm_id, name)
    disks = [one for one in hypervisor.domain(request.vm_id).disks if one.format == "qcow2"]
    forgotten = {name: targets for name, targets in _stored(disks, prefix).items() if name not in listed}
    if (
        base is not None and base.name not in listed
    ):  # of a VM that moved here too: what was not taken over serves nobody
        forgotten[base.name] = forgotten.get(base.name, set()) | set(base.disks) & {one.target for one in disks}
    for name, targets in sorted(forgotten.items()):
        hypervisor.delete_bitmaps(request.vm_id, name, sorted(targets))


def _stored(disks: Iterable[DomainDisk], prefix: str) -> dict[str, set[str]]:
    """Names of our bitmaps in the disks' files -> the targets that have them."""
    found: dict[str, set[str]] = {}
    for disk in disks:
        for name in stored_bitmaps(disk.source):
            if name.startswith(prefix):
                found.setdefault(name, set()).add(disk.target)
    return found
