"""The guest as a VM of a hypervisor host: its definition, its console, the commands it takes, the truth about its disks."""

import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from deploy.lab.guest_image import GuestImage, run_tool
from deploy.lab.hypervisor_host import HypervisorHost
from deploy.lab.processes import tail
from deploy.lab.waiting import wait_for

IMAGES = "/var/lib/libvirt/images"
LOGS = "/var/log/libvirt"
DISKS = {"vda": "qcow2", "vdb": "raw"}

_DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>192</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    {disks}
    <serial type='file'><source path='{logs}/{name}.console'/><target port='0'/></serial>
    <serial type='unix'><source mode='bind' path='{images}/{name}.commands'/><target port='1'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""
_DISK = """<disk type='file' device='disk'><driver name='qemu' type='{format}' discard='unmap'/>
      <source file='{images}/{name}-{disk}.{format}'/><target dev='{disk}' bus='virtio'/></disk>"""
_VERDICT = re.compile(r"SEAWALL-GUEST-VERDICT (ok|bad) records=(\d+) bad=(\d+) seq=(\d+) generation=(\d+)(.*)")
_TICK = re.compile(r"SEAWALL-GUEST-TICK seq=(\d+) generation=(\d+)")


@dataclass(frozen=True)
class Verdict:
    """What the guest said about its disks at boot. `records` counts the blocks checked, `seq` the newest operation found."""

    ok: bool
    records: int
    bad: int
    seq: int
    generation: int
    line: str


class GuestVm:
    """One guest by name on one host. After a restore, the same guest on another host is another GuestVm."""

    def __init__(self, name: str, hypervisor: HypervisorHost) -> None:
        self.name = name
        self.hypervisor = hypervisor
        self.host = hypervisor.host

    def disk_path(self, disk: str) -> Path:
        """Where the disk's file lies, seen from the machine."""
        return self.host.outside(f"{IMAGES}/{self.name}-{disk}.{DISKS[disk]}")

    @property
    def console(self) -> Path:
        return self.host.outside(f"{LOGS}/{self.name}.console")

    def console_tail(self) -> str:
        return f"--- console of {self.name} on {self.host.name}\n{tail(self.console)}"

    def create(self, image: GuestImage) -> None:
        """Copy the disks, define the VM and start it."""
        for disk, source in (("vda", image.vda), ("vdb", image.vdb)):
            run_tool("cp", "--sparse=always", "--reflink=auto", str(source), str(self.disk_path(disk)))
        disks = "\n    ".join(
            _DISK.format(images=IMAGES, name=self.name, disk=disk, format=kind) for disk, kind in DISKS.items()
        )
        definition = self.host.outside(f"{IMAGES}/{self.name}.xml")
        definition.write_text(_DOMAIN.format(name=self.name, disks=disks, images=IMAGES, logs=LOGS))
        self.hypervisor.virsh("define", f"{IMAGES}/{self.name}.xml")
        definition.unlink()
        self.start()

    def start(self) -> None:
        self.hypervisor.virsh("start", self.name)

    def suspend(self) -> None:
        self.hypervisor.virsh("suspend", self.name)

    def resume(self) -> None:
        self.hypervisor.virsh("resume", self.name)

    def destroy(self) -> None:
        """Pull the plug."""
        self.hypervisor.virsh("destroy", self.name)

    def erase(self) -> None:
        """Undefine the VM, with its checkpoints, and delete its disks: what losing it looks like."""
        self.hypervisor.virsh("undefine", self.name, "--checkpoints-metadata")
        for disk in DISKS:
            self.disk_path(disk).unlink()

    def remove_if_present(self) -> None:
        """Whatever is left of it on this host."""
        if self.name in self.hypervisor.domains():
            self.hypervisor.virsh("destroy", self.name, check=False)
            self.hypervisor.virsh("undefine", self.name, "--checkpoints-metadata")
        for disk in DISKS:
            self.disk_path(disk).unlink(missing_ok=True)

    def kill_qemu(self) -> None:
        """kill -9 of the VM's QEMU, as a power loss would; returns when libvirt knows."""
        pid = self.host.run(["cat", f"/run/libvirt/qemu/{self.name}.pid"]).stdout.strip()
        self.host.run(["kill", "-9", pid])
        wait_for(f"{self.name} to be off", lambda: self.state() == "shut off", 30, self.console_tail)

    def state(self) -> str:
        return self.hypervisor.virsh("domstate", self.name)

    def await_verdict(self, timeout_seconds: float = 60) -> Verdict:
        """The verdict of the running boot: each start begins a new console file."""
        found = wait_for(
            f"the verdict of {self.name} on {self.host.name}", self._find_verdict, timeout_seconds, self.console_tail
        )
        word, records, bad, seq, generation, _ = found.groups()
        return Verdict(word == "ok", int(records), int(bad), int(seq), int(generation), found.group(0).strip())

    def _console_text(self) -> str:
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def _find_verdict(self) -> re.Match[str] | None:
        return _VERDICT.search(self._console_text())

    def seq(self) -> int:
        """The newest operation that the guest spoke of; 0 before it did. At most about a quarter of a second old."""
        ticks = _TICK.findall(self._console_text())
        return int(ticks[-1][0]) if ticks else 0

    def await_ticks(self, count: int, timeout_seconds: float = 30) -> None:
        """Wait until the guest spoke that many times more, whether it writes or not: four times a second."""
        goal = len(_TICK.findall(self._console_text())) + count
        what = f"{count} ticks of {self.name}"
        wait_for(what, lambda: len(_TICK.findall(self._console_text())) >= goal, timeout_seconds, self.console_tail)

    def await_writes(self, operations: int, timeout_seconds: float = 60) -> int:
        """Wait until the guest wrote that many operations more; returns its newest."""
        first = wait_for(f"the first writes of {self.name}", self.seq, timeout_seconds, self.console_tail)
        goal = first + operations
        what = f"{operations} more operations of {self.name}"
        wait_for(what, lambda: self.seq() >= goal, timeout_seconds, self.console_tail, every_seconds=0.2)
        return self.seq()

    def command(self, line: str, timeout_seconds: float = 30) -> str:
        """Send one command and wait until the guest says it is done; returns that line."""
        told = len(self._console_text())
        directory = os.open(self.host.outside(IMAGES), os.O_RDONLY)
        try:
            with socket.socket(socket.AF_UNIX) as channel:
                # by way of the directory's descriptor: a socket's path may have 107 bytes, a checkout's may have more
                channel.connect(f"/proc/self/fd/{directory}/{self.name}.commands")
                channel.sendall(line.encode() + b"\n")
                pattern = re.compile(r"SEAWALL-GUEST-DONE " + re.escape(line) + r".*\n")
                what = f"{self.name} to obey {line!r}"
                done = wait_for(
                    what, lambda: pattern.search(self._console_text(), told), timeout_seconds, self.console_tail
                )
        finally:
            os.close(directory)
        return done.group(0).strip()

    def copy_truth(self, directory: Path) -> dict[str, Path]:
        """Suspend the guest and copy its disks, raw, as they are at this instant. The guest stays suspended."""
        self.suspend()
        directory.mkdir(parents=True, exist_ok=True)
        truth = {}
        for disk, kind in DISKS.items():
            truth[disk] = directory / f"{disk}.raw"
            convert_to_raw(self.disk_path(disk), kind, truth[disk])
        return truth


def convert_to_raw(source: Path, kind: str, target: Path) -> None:
    """qemu-img convert -U: a running QEMU's lock on the image is passed over, which is safe while the VM is suspended."""
    run_tool("qemu-img", "convert", "-U", "-f", kind, "-O", "raw", str(source), str(target))
