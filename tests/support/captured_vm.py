"""A VM under a libvirt of our own, its captures, and the points that they would have become."""

from copy import copy
from pathlib import Path

from seawall.agent.capture.names import places
from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.port import Capture, CapturedDisk, CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.repository.clock import SystemClock
from seawall.repository.format.manifest import Checkpoint, DiskManifest, Root
from support.libvirt_host import LibvirtHost, disk_xml, domain_xml

MIB = 1024 * 1024
QCOW2_BYTES = 64 * MIB
RAW_BYTES = 8 * MIB + 512  # no multiple of 4,096
REPOSITORY = "abcdef0123456789"
AGENT = "agent-1"


class Vm:
    """A running VM with a qcow2 disk vda and a raw disk vdb."""

    def __init__(
        self, host: LibvirtHost, hypervisor: LibvirtHypervisor, name: str, files: tuple[Path, Path] | None = None
    ) -> None:
        """`files`: of vda and vdb; without them they are new and empty."""
        self.host, self.hypervisor, self.name = host, hypervisor, name
        self.qcow2, self.raw = files or (
            host.image(f"{name}.qcow2", "qcow2", QCOW2_BYTES),
            host.image(f"{name}.raw", "raw", RAW_BYTES),
        )
        disks = disk_xml(self.qcow2, "vda", "qcow2") + disk_xml(self.raw, "vdb", "raw")
        self.vm_id = hypervisor.define(domain_xml(name, disks))
        hypervisor.start(self.vm_id)

    def at(self, host: LibvirtHost, hypervisor: LibvirtHypervisor) -> "Vm":
        """The same VM, as a host has it that it moved to."""
        moved = copy(self)
        moved.host, moved.hypervisor = host, hypervisor
        return moved

    def io(self, target: str, command: str) -> None:
        self.host.qemu_io(self.name, target, command)

    def checkpoint_names(self) -> list[str]:
        return [one.name for one in self.hypervisor.checkpoints(self.vm_id)]

    def truth(self) -> dict[str, bytes]:
        for target in ("vda", "vdb"):
            self.io(target, "flush")  # else QEMU's cached tables are not in the file yet
        return self.truth_of_files()

    def truth_of_files(self) -> dict[str, bytes]:
        """The same of a VM that is off."""
        return {"vda": self.host.truth(self.qcow2, "qcow2"), "vdb": self.host.truth(self.raw, "raw")}


def a_request(vm: Vm, attempt: str, parent: Root | None = None) -> CaptureRequest:
    return CaptureRequest(vm.vm_id, attempt, AGENT, REPOSITORY, "never", parent, ())


def capture(vm: Vm, settings: CaptureSettings, attempt: str, parent: Root | None = None) -> Capture:
    return open_capture(a_request(vm, attempt, parent), vm.hypervisor, settings, SystemClock())


def content(disk: CapturedDisk) -> bytes:
    buffer = bytearray(disk.size_bytes)
    disk.source.read_into(0, memoryview(buffer))
    return bytes(buffer)


def overlaid(before: bytes, disk: CapturedDisk) -> bytes:
    """The parent's content with the dirty extents laid over it: what an incremental point holds."""
    image = bytearray(before)
    for extent in disk.source.extents(0, disk.size_bytes):
        if extent.dirty and extent.zero:
            image[extent.offset : extent.offset + extent.length] = bytes(extent.length)
        elif extent.dirty:
            disk.source.read_into(extent.offset, memoryview(image)[extent.offset : extent.offset + extent.length])
    return bytes(image)


def root_of(vm: Vm, disks: list[CapturedDisk], checkpoint: Checkpoint | None) -> Root:
    manifests = tuple(
        DiskManifest(
            disk=one.target,
            size_bytes=one.size_bytes,
            format=one.format,
            source=one.source_path,
            sector_bytes=512,
            grid_phase=0,
            chunk_nominal_bytes=65536,
            how=one.how,
            why=one.why,
            nodes=(),
            source_id=one.source_id,
        )
        for one in disks
    )
    return Root(
        b"l", "t", vm.vm_id, vm.name, "p", "", 1, 1, False, manifests, members=(), checkpoint=checkpoint, warnings=()
    )


def committed(
    vm: Vm, settings: CaptureSettings, attempt: str, parent: Root | None = None
) -> tuple[Root, dict[str, bytes]]:
    """A point as if it had been committed, and its content."""
    with capture(vm, settings, attempt, parent) as taken:
        contents = {one.target: content(one) for one in taken.disks}
        taken.keep_checkpoint()
        taken.delete_older_checkpoints()
        return root_of(vm, list(taken.disks), taken.checkpoint), contents


def left_behind(settings: CaptureSettings, attempt: str) -> list[Path]:
    where = places(settings.run_dir, settings.scratch_dir, attempt)
    return [path for path in (where.run, where.scratch) if path.exists()]
