"""A guest as Windows wants it: UEFI with variables of its own, a TPM 2.0, and a disk that its firmware boots from. It counts its boots.

Needs what the laboratory's guest needs, and the packages ovmf, swtpm and swtpm-tools.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from deploy.lab.guest_image import find_kernel, make_initrd, run_tool
from deploy.lab.guest_vm import IMAGES, LOGS
from deploy.lab.hypervisor_host import HypervisorHost
from deploy.lab.laboratory import BUILD
from deploy.lab.waiting import wait_for

BOOT_SECONDS = 300.0
"""The firmware alone takes half a minute under emulation, on a machine that does nothing else."""

_STARTUP = "vmlinuz.efi initrd=\\initrd console=ttyS0 quiet loglevel=3 panic=1 tsc=unstable no_timer_check\r\n"
_DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os firmware='efi'>
    <type arch='x86_64' machine='q35'>hvm</type>
    <firmware><feature enabled='no' name='secure-boot'/></firmware>
    <boot dev='hd'/>
  </os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{images}/{name}-vda.qcow2'/>
      <target dev='vda' bus='virtio'/></disk>
    <serial type='file'><source path='{logs}/{name}.console'/></serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
  </devices>
</domain>
"""
_SAID = re.compile(r"SEAWALL-UEFI found efi=(\d+) tpm=(\d+)\s+(?:.*\n)*?SEAWALL-UEFI set efi=(\d+) tpm=(\d+)")


@dataclass(frozen=True, slots=True)
class Boot:
    """What one boot found in the UEFI variable and in the TPM, and left there: pairs (efi, tpm)."""

    found: tuple[int, int]
    left: tuple[int, int]


def build_uefi_disk(folder: Path) -> Path:
    """A qcow2 disk whose FAT file system UEFI's shell starts the kernel from."""
    kernel = find_kernel(BUILD / "kernel")
    folder.mkdir(parents=True, exist_ok=True)
    program, raw, disk = folder / "uefi", folder / "uefi.raw", folder / "uefi.qcow2"
    run_tool("gcc", "-O2", "-static", "-Wall", "-Werror", "-o", str(program), str(Path(__file__).with_suffix(".c")))
    initrd = make_initrd(folder, program, kernel, ("efivarfs",))
    startup = folder / "startup.nsh"
    startup.write_bytes(_STARTUP.encode())
    raw.unlink(missing_ok=True)
    run_tool("mkfs.fat", "-C", "-n", "SEAWALL", str(raw), str(32 * 1024))
    for source, name in ((kernel.image, "vmlinuz.efi"), (initrd, "initrd"), (startup, "startup.nsh")):
        run_tool("mcopy", "-i", str(raw), str(source), f"::{name}")
    run_tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(disk))
    return disk


class UefiGuest:
    """One guest by name on one host of a laboratory. `console`: a restored VM's has the name of the original."""

    def __init__(self, name: str, hypervisor: HypervisorHost, console: str = "") -> None:
        self.name, self.hypervisor, self.host = name, hypervisor, hypervisor.host
        self.console = self.host.outside(f"{LOGS}/{console or name}.console")

    def create(self, disk: Path) -> None:
        """Copy the disk and define the VM."""
        prepare_tpm_host(self.hypervisor)
        run_tool("cp", "--sparse=always", str(disk), str(self.disk))
        definition = self.host.outside(f"{IMAGES}/{self.name}.xml")
        definition.write_text(_DOMAIN.format(name=self.name, images=IMAGES, logs=LOGS))
        self.hypervisor.virsh("define", f"{IMAGES}/{self.name}.xml")
        definition.unlink()

    @property
    def disk(self) -> Path:
        return self.host.outside(f"{IMAGES}/{self.name}-vda.qcow2")

    @property
    def vm_id(self) -> str:
        return self.hypervisor.virsh("domuuid", self.name)

    def start(self) -> None:
        self.hypervisor.virsh("start", self.name)

    def await_boot(self) -> Boot:
        """What the boot that is under way says: each start begins a new console file, but for restored VMs, which append."""
        console = self.console

        def said() -> re.Match[str] | None:
            return _SAID.search(console.read_text(errors="replace").replace("\r", "")) if console.exists() else None

        def why() -> str:
            return console.read_text(errors="replace")[-3000:] if console.exists() else "no console"

        found = [int(one) for one in wait_for(f"{self.name} to boot", said, BOOT_SECONDS, why).groups()]
        return Boot((found[0], found[1]), (found[2], found[3]))

    def destroy(self) -> None:
        self.hypervisor.virsh("destroy", self.name)

    def erase(self) -> None:
        """All of it: the VM, its variables, its TPM, its disk."""
        if self.name in self.hypervisor.domains():
            self.hypervisor.virsh("destroy", self.name, check=False)
            self.hypervisor.virsh("undefine", self.name, "--nvram", "--checkpoints-metadata")
        for path in self.host.outside(IMAGES).glob(f"{self.name}-vda*"):
            path.unlink()


def prepare_tpm_host(hypervisor: HypervisorHost) -> None:
    """What the packages make on a real host: folders in which swtpm's own user signs certificates and writes logs."""
    for name, user in (("/var/lib/swtpm-localca", "tss"), ("/var/log/swtpm/libvirt/qemu", "tss")):
        folder = hypervisor.host.outside(name)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.chown(folder, user, "tss")
