"""Gathering what a plan depends on: the disks' files, libvirt's checkpoints, the parent point."""

from dataclasses import replace

from seawall.agent.capture.facts import CaptureFacts
from seawall.agent.capture.plan import CapturePlan, plan_capture, to_take_over
from seawall.agent.capture.port import CaptureRequest
from seawall.agent.capture.taking_over import take_over
from seawall.agent.disk import qcow2
from seawall.agent.disk.identity import source_id, tells_of_writes
from seawall.agent.disk.qcow2_bitmaps import usable_bitmaps
from seawall.agent.errors import AgentError, FailureKind
from seawall.agent.hypervisor.port import OFF, Domain, DomainDisk, Hypervisor
from seawall.agent.hypervisor.xml import checkpoint_targets
from seawall.repository.format.manifest import DiskManifest


class NothingToBackUp(AgentError):
    """Every disk of the VM is left out."""

    reason = "NO_DISKS"
    kind = FailureKind.PERMANENT
    next_step = "See the VM's disks with `seawall vm show`; a VM without data of its own needs no backup."


def planned(request: CaptureRequest, hypervisor: Hypervisor, domain: Domain) -> CapturePlan:
    """How each disk is read. Raises NothingToBackUp, HypervisorError."""
    bases = {one.name: checkpoint_targets(one.xml) for one in hypervisor.checkpoints(domain.vm_id)}
    facts = CaptureFacts(
        domain=domain,
        keeps_bitmaps={disk.target: _keeps_bitmaps(disk) for disk in domain.disks},
        parent=request.parent,
        bases=bases,
        agent_id=request.agent_id,
        exclude=request.exclude_disks,
        no_parent=request.no_parent,
        source_ids={one.source: _told_now(one, domain) for one in request.parent.disks} if request.parent else {},
        stored={disk.target: usable_bitmaps(disk.source) for disk in domain.disks} if domain.state == OFF else None,
    )
    checkpoint = request.parent.checkpoint if request.parent else None
    targets = to_take_over(facts)
    if checkpoint is not None and (taken := take_over(hypervisor, domain.vm_id, checkpoint.name, targets)):
        facts = replace(facts, bases={**bases, checkpoint.name: taken})
    plan = plan_capture(facts)
    if not plan.disks:
        why = (
            " ".join(message for _, message in plan.warnings)
            or "It has no disk, or drives with exchangeable media alone."
        )
        raise NothingToBackUp(f"The VM {domain.name!r} has no disk that can be backed up. {why}")
    return plan


def virtual_bytes(plan: CapturePlan) -> int:
    """What the disks of the job hold together, as their guest sees them."""
    return sum(one.disk.capacity_bytes for one in plan.disks)


def _told_now(disk: DiskManifest, domain: Domain) -> str:
    """The file there now, in the words of the parent point where they can still hold: a VM that runs has written its files."""
    return source_id(disk.source, as_written=domain.state == OFF and tells_of_writes(disk.source_id))


def _keeps_bitmaps(disk: DomainDisk) -> bool:
    return disk.format == "qcow2" and disk.source_type in ("file", "block") and qcow2.keeps_bitmaps(disk.source)
