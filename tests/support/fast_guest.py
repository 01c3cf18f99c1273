"""A VM that writes as fast as it can, under a LibvirtHost. Needs what the laboratory's guest needs: gcc, cpio, a kernel."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.lab.guest_image import find_kernel, make_initrd
from deploy.lab.laboratory import BUILD

from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from support.libvirt_host import LibvirtHost, await_true, disk_xml

_DOMAIN = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>192</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
<cmdline>console=ttyS0 quiet tsc=unstable no_timer_check</cmdline></os>
<devices>{disk}<serial type='file'><source path='{console}'/></serial></devices></domain>"""


class FastGuest:
    """Running; it has written to all of its disk."""

    def __init__(self, host: LibvirtHost, hypervisor: LibvirtHypervisor, disk_bytes: int) -> None:
        self.host, self.hypervisor, self.name = host, hypervisor, "fast"
        self._console = host.folder / "fast.console"
        kernel = find_kernel(BUILD / "kernel")
        program = host.folder / "fast"
        subprocess.run(
            ["gcc", "-O2", "-static", "-o", program, Path(__file__).with_suffix(".c")], check=True, capture_output=True
        )
        initrd = make_initrd(host.folder, program, kernel)
        image = host.image("fast.qcow2", "qcow2", disk_bytes)
        disk = disk_xml(image, "vda", "qcow2")
        text = _DOMAIN.format(name=self.name, kernel=kernel.image, initrd=initrd, disk=disk, console=self._console)
        self.vm_id = hypervisor.define(text)
        hypervisor.start(self.vm_id)
        await_true(lambda: "ROUND" in self.said(), "the disk is written", 180)

    def said(self) -> str:
        return self._console.read_text(errors="replace") if self._console.exists() else ""

    def state(self) -> str:
        """ "running (booted)", "paused (I/O error)", ..."""
        return self.host.virsh("domstate", self.name, "--reason").strip()

    def await_writes(self) -> None:
        """It goes on."""
        before = self.said().count("WRITES")
        await_true(lambda: self.said().count("WRITES") > before + 2, "the guest writes", 60)


@contextmanager
def small_scratch(folder: Path, size_mib: int) -> Iterator[Path]:
    """A file system of its own, seen by hosts that start inside."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "scratch", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
