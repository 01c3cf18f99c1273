"""A VM of a round: made on a host, changed by its owner, with a note of what its disks are and when its guest could not write."""

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from deploy.lab.guest_image import run_tool
from deploy.lab.guest_vm import IMAGES, LOGS
from deploy.lab.hypervisor_host import HypervisorHost
from deploy.lab.waiting import LabFailed, wait_for

from .consoles import Consoles
from .evidence import GuestLook, Interval, Known
from .plan_words import DiskPlan, VmPlan
from .soak_image import SoakImage

MIB = 1 << 20
BOOT_SECONDS = 240.0
VIRSH_SECONDS = 90.0
_PORTS = "<controller type='pci' index='0' model='pcie-root'/>" + "<controller type='pci' model='pcie-root-port'/>" * 10
"""Enough that a disk can be added while it runs."""

_DOMAIN = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>160</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os><features><acpi/></features>
<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
<devices>{ports}{disks}
<serial type='file'><source path='{logs}/{name}.console' append='on'/><target port='0'/></serial>
<serial type='unix'><source mode='bind' path='{images}/{name}.commands'/><target port='1'/></serial>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""
_DISK = """<disk type='file' device='disk'><driver name='qemu' type='{format}' discard='unmap'/><source file='{path}'/>
<target dev='{target}' bus='virtio'/></disk>"""
_TICK = re.compile(r"^SOAK-TICK ms=\d+ global=(\d+) errors=\d+ slow=\d+(.*)")


class SoakVm:
    """`disks`: target -> id, as they are now. All times are of time.monotonic."""

    def __init__(self, plan: VmPlan, hypervisor: HypervisorHost, image: SoakImage, consoles: Consoles) -> None:
        self.name, self.plan = plan.name, plan
        self._hypervisor, self._host, self._image, self._consoles = hypervisor, hypervisor.host, image, consoles
        self.disks: dict[str, str] = {}
        self._lengths: dict[str, set[int]] = {}
        self._files: dict[str, tuple[str, str]] = {}  # of each disk ever made: id -> path on the host, format
        self._absent: list[Interval] = []
        self._deaf: list[Interval] = []
        self._off_since: float | None = None
        self._lock = threading.Lock()
        consoles.follow(self.name, self._host.outside(f"{LOGS}/{self.name}.console"))

    # -- as it is made, and goes

    def create(self) -> None:
        """Defined, not started."""
        for disk in self.plan.disks:
            self._make(disk)
        disks = "".join(self._disk_xml(disk) for disk in self.plan.disks)
        self._with_file(
            "definition", _DOMAIN.format(name=self.name, ports=_PORTS, disks=disks, images=IMAGES, logs=LOGS), "define"
        )

    def remove(self) -> None:
        """With its files."""
        if self.name in self._hypervisor.domains():
            self._hypervisor.virsh("destroy", self.name, check=False)
            self.virsh("undefine", self.name, "--checkpoints-metadata")
        for path in self._host.outside(IMAGES).glob(f"{self.name}[-.]*"):
            path.unlink()

    def _make(self, disk: DiskPlan) -> None:
        path = f"{IMAGES}/{self.name}-{disk.target}-{disk.disk_id[:6]}.{disk.format}"
        if disk.disk_id not in self._files:
            self._image.make_disk(disk, self._host.outside(path))
            self._files[disk.disk_id] = path, disk.format
            self._lengths[disk.disk_id] = {disk.length_bytes}
        self.disks[disk.target] = disk.disk_id

    def _disk_xml(self, disk: DiskPlan) -> str:
        path, kind = self._files[disk.disk_id]
        return _DISK.format(format=kind, path=path, target=disk.target)

    def _with_file(self, suffix: str, text: str, *command: str) -> None:
        """`virsh COMMAND... FILE...`, the file's place being where "{}" stands, or the end."""
        place = f"{IMAGES}/{self.name}.{suffix}"
        self._host.outside(place).write_text(text)
        words = [place if word == "{}" else word for word in command]
        self.virsh(*(words if place in words else [*words, place]))
        self._host.outside(place).unlink()

    def virsh(self, *words: str) -> str:
        """Again and again, for libvirtd may be away. Raises LabFailed."""
        said = ""

        def done() -> list[str] | None:
            nonlocal said
            try:
                return [self._hypervisor.virsh(*words)]
            except LabFailed as refused:
                said = str(refused)
                return None

        return wait_for(f"virsh {' '.join(words)}", done, VIRSH_SECONDS, lambda: said, every_seconds=0.5)[0]

    # -- on and off

    def start(self) -> None:
        """Returns when its guest writes."""
        boots = self._boots()
        self.virsh("start", self.name)
        wait_for(f"{self.name} to write", lambda: self._boots() > boots, BOOT_SECONDS, self.tail, every_seconds=0.1)
        self.tell(f"rate {self.plan.rate}")
        with self._lock:
            self._absent += self._off()
            self._off_since = None

    def _off(self) -> list[Interval]:
        """The time since its owner took it away, until now; none while it is on."""
        return [] if self._off_since is None else [Interval(self._off_since, time.monotonic())]

    def state(self) -> str:
        return self.virsh("domstate", self.name)

    def ensure(self, running: bool) -> None:
        """Running, writing and not paused; or off."""
        state = self.state()
        if state == "paused":
            self.virsh("resume", self.name)
        if running and state == "shut off":
            self.start()
        if not running and state != "shut off":
            self.power_cut()

    def revive(self) -> None:
        """After its QEMU was killed: libvirt has to notice that first."""
        wait_for(f"{self.name} to be off", lambda: self.state() == "shut off", 60, self.tail, every_seconds=0.1)
        self.start()

    def away(self) -> AbstractContextManager[None]:
        """Its guest cannot write meanwhile, by no fault of a backup."""
        return self._noted(self._absent)

    def unreachable(self) -> AbstractContextManager[None]:
        """Nobody can thaw it meanwhile."""
        return self._noted(self._deaf)

    @contextmanager
    def _noted(self, intervals: list[Interval]) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                intervals.append(Interval(began, time.monotonic()))

    def power_cut(self) -> None:
        self._off_since = self._off_since or time.monotonic()
        self.virsh("destroy", self.name)

    def shut_down(self) -> None:
        """By the guest itself."""
        self._off_since = self._off_since or time.monotonic()
        self.tell("off", wait=False)
        wait_for(f"{self.name} to be off", lambda: self.state() == "shut off", 60, self.tail)

    def qemu_pid(self) -> str:
        """Inside its host; "" for none."""
        return self._host.run(["cat", f"/run/libvirt/qemu/{self.name}.pid"], check=False).stdout.strip()

    # -- its disks

    def add(self, disk: DiskPlan, while_running: bool) -> None:
        self._make(disk)
        live = ["--live", "--config"] if while_running else ["--config"]
        self._with_file("added", self._disk_xml(disk), "attach-device", self.name, "{}", *live)
        if while_running:
            wait_for(
                f"{self.name} to write to {disk.target}", lambda: disk.disk_id in self.done(), BOOT_SECONDS, self.tail
            )

    def take_away(self, target: str) -> None:
        """While it is off."""
        self.virsh("detach-disk", self.name, target, "--config")
        del self.disks[target]

    def grow(self, target: str, mib: int, *, patient: bool = True) -> None:
        """Off or running. Not `patient`: once; libvirt may refuse it, and then it may have happened all the same."""
        disk = self.disks[target]
        length = max(self._lengths[disk]) + mib * MIB
        self._lengths[disk].add(length)
        if patient:
            self._lengths[disk] = {length}
        if self.state() == "shut off":
            path, kind = self._file_of(target)
            run_tool("qemu-img", "resize", "-q", "-f", kind, str(self._host.outside(path)), str(length))
        elif patient:
            self.virsh("blockresize", self.name, target, f"{length}B")
        else:
            self._hypervisor.virsh("blockresize", self.name, target, f"{length}B", check=False)

    def snapshot(self) -> None:
        """An external one of all disks: overlays from now on."""
        specs = [
            word
            for target, disk in self.disks.items()
            for word in ("--diskspec", f"{target},file={IMAGES}/{self.name}-{target}-{disk[:6]}.over")
        ]
        self.virsh("snapshot-create-as", self.name, "over", "--disk-only", "--no-metadata", "--atomic", *specs)
        for target, disk in self.disks.items():
            self._files[disk] = f"{IMAGES}/{self.name}-{target}-{disk[:6]}.over", "qcow2"

    def lose_checkpoints(self) -> None:
        """libvirt's notes of them; the bitmaps stay."""
        for name in self.virsh("checkpoint-list", self.name, "--name").split():
            self.virsh("checkpoint-delete", self.name, name, "--metadata")

    def _file_of(self, target: str) -> tuple[str, str]:
        return self._files[self.disks[target]]

    # -- its guest

    def tell(self, line: str, *, wait: bool = True) -> None:
        directory = os.open(self._host.outside(IMAGES), os.O_RDONLY)
        told = len(self._consoles.lines(self.name))
        try:
            with socket.socket(socket.AF_UNIX) as channel:
                channel.connect(f"/proc/self/fd/{directory}/{self.name}.commands")  # a socket's path must be short
                channel.sendall(line.encode() + b"\n")
                if wait:
                    wait_for(f"{self.name} to {line}", lambda: self._said(f"SOAK-DONE {line}", told), 60, self.tail)
        finally:
            os.close(directory)

    def _said(self, text: str, since: int = 0) -> bool:
        return any(line.text == text for line in self._consoles.lines(self.name)[since:])

    def _boots(self) -> int:
        return sum(line.text.startswith("SOAK-READY") for line in self._consoles.lines(self.name))

    def done(self) -> dict[str, int]:
        """Operations of each disk that the guest last told of."""
        for line in reversed(self._consoles.lines(self.name)):
            if found := _TICK.match(line.text):
                pairs = [one.split(":") for one in found[2].split()]
                return {disk: int(count) for disk, count in pairs}
        return {}

    def await_writes(self, operations: int) -> None:
        goal = sum(self.done().values()) + operations
        wait_for(f"{self.name} to write", lambda: sum(self.done().values()) >= goal, 120, self.tail)

    def tail(self) -> str:
        return f"--- {self.name}\n" + "\n".join(line.text for line in self._consoles.lines(self.name)[-15:])

    # -- what is known of it

    def known(self) -> Known:
        """Now; `lengths` may become more while a backup runs, `lengths_now` tells of it."""
        return Known(dict(self.disks), self.lengths_now(), self.done())

    def lengths_now(self) -> dict[str, frozenset[int]]:
        return {disk: frozenset(self._lengths[disk]) for disk in self.disks.values()}

    def look(self) -> GuestLook:
        with self._lock:
            absent, deaf = (*self._absent, *self._off()), tuple(self._deaf)
        return GuestLook(self.name, self._consoles.lines(self.name), absent, deaf, time.monotonic())
