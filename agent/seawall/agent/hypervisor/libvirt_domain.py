"""What the libvirt adapter does with one domain, within a call that has a deadline. Raises libvirtError, and what is named."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import libvirt

from seawall.agent.errors import HypervisorError, VmNotRunning
from seawall.agent.hypervisor import xml
from seawall.agent.hypervisor.libvirt_errors import bitmap_absent, silent
from seawall.agent.hypervisor.libvirt_images import at_its_path
from seawall.agent.hypervisor.port import OFF, CheckpointInfo, Domain, DomainDisk
from seawall.agent.throttle.latency import BlockCounts, Look

_STATES = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "in shutdown",
    libvirt.VIR_DOMAIN_SHUTOFF: OFF,
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended",
}
_MIGRATIONS = (libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN, libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)
_BETWEEN_HOSTS = (
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION),
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY),
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED),
)


_REQUESTS = ("rd", "wr", "fl")
_REDEFINE_PROVEN = (
    libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE | libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE
)
_AT_ONCE = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
_SYSRQ_THAW = (56, 99, 36)
"""Alt, SysRq, J by Linux' numbers: "thaw all file systems that FIFREEZE froze"."""
_WINDOWS = "mswindows"


def _wait_as_before(domain: Any) -> None:
    """For the guest agent's answers: as long as it takes, which is where libvirt starts. It keeps what is set, for everybody."""
    with suppress(libvirt.libvirtError):
        domain.agentSetResponseTimeout(libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK, 0)


def described(domain: Any) -> Domain:
    is_on = bool(domain.isActive())
    state = _STATES.get(domain.state()[0], "unknown") if is_on else OFF  # "crashed" may have a QEMU or none
    root = xml.parse(domain.XMLDesc(0))
    disks = tuple(_with_capacity(domain, at_its_path(domain.connect(), disk)) for disk in xml.disks_of(root))
    saved = not is_on and bool(domain.hasManagedSaveImage())
    tags = xml.tags_of(root)
    return Domain(vm_id=domain.UUIDString(), name=domain.name(), state=state, disks=disks, saved=saved, tags=tags)


def disk_targets(domain: Any) -> list[str]:
    return list(xml.disk_rows(xml.parse(domain.XMLDesc(0))))


def _with_capacity(domain: Any, disk: DomainDisk) -> DomainDisk:
    if not disk.source:
        return disk
    try:
        capacity = int(domain.blockInfo(disk.target)[0])
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return disk  # a missing file, or a network disk of a VM that is off
    return replace(disk, capacity_bytes=capacity)


def persistent_xml(domain: Any) -> str:
    kept = libvirt.VIR_DOMAIN_XML_INACTIVE if domain.isPersistent() else 0
    return str(domain.XMLDesc(kept | libvirt.VIR_DOMAIN_XML_SECURE))


def _refuse_off(domain: Any) -> None:
    if not domain.isActive():
        raise VmNotRunning(f"The VM {domain.name()!r} is powered off; libvirt backs up running VMs alone.")


def create_checkpoint(domain: Any, text: str) -> None:
    _refuse_off(domain)
    domain.checkpointCreateXML(text, 0)


def begin_backup(domain: Any, backup: str, checkpoint: str | None, *, scratch_made: bool) -> None:
    _refuse_off(domain)
    domain.backupBegin(backup, checkpoint, libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL if scratch_made else 0)


def abort_backup(domain: Any) -> None:
    """Never aborts another kind of job: a migration is not ours to end."""
    if backup_xml(domain) is None:
        return
    try:
        domain.abortJob()
    except libvirt.libvirtError:
        if backup_xml(domain) is not None:  # else it ended meanwhile
            raise


def resume_stalled(domain: Any) -> bool:
    if domain.state() != [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR]:
        return False
    domain.resume()
    return True


def backup_xml(domain: Any) -> str | None:
    try:
        return str(domain.backupGetXMLDesc(0))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_BACKUP or not domain.isActive():
            return None
        raise


def block_counts(domain: Any) -> Look:
    """Never waits for another job: what cannot be told at once is an error. Of a VM that is off: nothing."""
    stats = domain.connect().domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_BLOCK, _AT_ONCE)
    values: dict[str, Any] = stats[0][1] if stats else {}
    if not values.get("block.count"):
        return {}
    found = {}
    for number in range(values["block.count"]):
        disk = f"block.{number}"
        if f"{disk}.rd.reqs" not in values:
            continue  # one that QEMU does not read itself (vhost-user), or all of them: see below
        counts = [(values.get(f"{disk}.{kind}.reqs", 0), values.get(f"{disk}.{kind}.times", 0)) for kind in _REQUESTS]
        found[values[f"{disk}.name"]] = BlockCounts(*(sum(column) for column in zip(*counts, strict=True)))
    if not found and domain.isActive():
        raise HypervisorError(f"libvirt does not tell at this moment what the VM {domain.name()!r} reads and writes.")
    return found


def has_job(domain: Any) -> bool:
    return bool(domain.isActive()) and domain.jobStats().get("type") not in (None, libvirt.VIR_DOMAIN_JOB_NONE)


def is_migrating(domain: Any) -> bool:
    if tuple(domain.state()) in _BETWEEN_HOSTS:
        return True
    return has_job(domain) and domain.jobStats().get("operation") in _MIGRATIONS


def checkpoints(domain: Any) -> list[CheckpointInfo]:
    flags = libvirt.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL
    return [CheckpointInfo(one.getName(), one.getXMLDesc(0)) for one in domain.listAllCheckpoints(flags)]


def checkpoint_xml(domain: Any, name: str) -> str:
    return str(domain.checkpointLookupByName(name).getXMLDesc(0))


def redefine_checkpoint(domain: Any, name: str, targets: Sequence[str]) -> None:
    """From the VM's definition of here: no XML of a repository reaches libvirt."""
    text = xml.checkpoint_again(name, targets, domain.XMLDesc(0))
    domain.checkpointCreateXML(text, _REDEFINE_PROVEN)


def delete_checkpoint(domain: Any, name: str) -> None:
    try:
        checkpoint = domain.checkpointLookupByName(name)
        try:
            checkpoint.delete(0)
        except libvirt.libvirtError as error:
            if not bitmap_absent(error):
                raise
            # Killed before QEMU ever wrote the bitmap to the file, or the file is another: on this disk there is nothing left to delete.
            _delete_disk_by_disk(domain, checkpoint)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT:
            raise


def _delete_disk_by_disk(domain: Any, checkpoint: Any) -> None:
    """Else the bitmaps of the other disks stay for ever: libvirt stops at the first that is absent."""
    name, text = checkpoint.getName(), str(checkpoint.getXMLDesc(0))
    checkpoint.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
    delete_bitmaps(domain, name, sorted(xml.checkpoint_targets(text)))


def delete_bitmaps(domain: Any, name: str, targets: Sequence[str]) -> None:
    """libvirt deletes a bitmap only with a checkpoint: it is told of one with this disk alone."""
    definition = domain.XMLDesc(0)
    for target in targets:
        text = xml.checkpoint_again(name, [target], definition)
        alone = domain.checkpointCreateXML(text, libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE)
        try:
            alone.delete(0)
        except libvirt.libvirtError as error:
            alone.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
            if not bitmap_absent(error):
                raise


def freeze(domain: Any, timeout_seconds: int) -> int:
    with _answering_within(domain, timeout_seconds):
        return int(domain.fsFreeze())


def thaw(domain: Any, timeout_seconds: int) -> None:
    with _answering_within(domain, timeout_seconds):
        domain.fsThaw()


def wake_agent(domain: Any, timeout_seconds: int) -> bool:
    """An agent that answers, but does not tell (it is old, or may not), is awake all the same."""
    with _answering_within(domain, timeout_seconds):
        try:
            told = domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_OS, 0)
        except libvirt.libvirtError as error:
            if silent(error):
                raise
            return False
    return bool(told) and told.get("os.id") != _WINDOWS


def press_thaw_keys(domain: Any) -> None:
    domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, 0, list(_SYSRQ_THAW), len(_SYSRQ_THAW), 0)


@contextmanager
def _answering_within(domain: Any, seconds: int) -> Iterator[None]:
    domain.agentSetResponseTimeout(seconds, 0)
    try:
        yield
    finally:
        _wait_as_before(domain)
