"""A VM that works at a steady pace and measures how long its writes take, with Debian's real guest agent: see paced_guest.c."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from deploy.lab.guest_image import find_kernel, make_initrd, run_tool
from deploy.lab.laboratory import BUILD
from deploy.lab.processes import tail
from deploy.lab.waiting import LabFailed, wait_for

MIB = 1 << 20
WRITE_BYTES = 4096
DATA_MIB = 64
HOOK = "etc/qemu/fsfreeze-hook"
_DOMAIN = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
<cmdline>console=ttyS0 quiet loglevel=3 panic=1 tsc=unstable no_timer_check</cmdline></os><features><acpi/></features>
<on_poweroff>destroy</on_poweroff>
<devices>{disks}
<serial type='file'><source path='{folder}/{name}.console'/><target port='0'/></serial>
<serial type='unix'><source mode='bind' path='{folder}/{name}.commands'/><target port='1'/></serial>
{channel}<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""
_DISK = """<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none' discard='unmap'/>
<source file='{folder}/{name}-{target}.qcow2'/><target dev='{target}' bus='virtio'/></disk>"""
_CHANNEL = """<channel type='unix'><source mode='bind' path='{folder}/{name}.agent'/>
<target type='virtio' name='org.qemu.guest_agent.0'/></channel>"""
_TICK = re.compile(r"^TICK (\d+) (\d+)", re.MULTILINE)
_LATENCY = re.compile(
    r"LATENCY count=(\d+) p50_ms=([\d.]+) p90_ms=([\d.]+) p99_ms=([\d.]+) max_ms=([\d.]+) total=(\d+)"
)


@dataclass(frozen=True)
class Took:
    """How long the paced writes took, from when each was due."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    total: int  # paced writes since the guest booted


def places(writes: range, disk_bytes: int) -> Iterator[int]:
    """Where the guest's paced writes of these numbers (from 1) go on vdb: as paced_guest.c computes it, without `span`."""
    mask, seed = (1 << 64) - 1, 88172645463325252
    for number in range(1, writes.stop):
        seed ^= seed << 13 & mask
        seed ^= seed >> 7
        seed ^= seed << 17 & mask
        if number >= writes.start:
            yield seed % (disk_bytes // WRITE_BYTES) * WRITE_BYTES


def agent_files() -> Mapping[str, Path]:
    """Debian's qemu-ga and the libraries that it needs, by their places in the guest. Raises LabFailed."""
    program = _first(BUILD / "guest-agent/usr/sbin/qemu-ga", Path("/usr/sbin/qemu-ga"))
    return {"qemu-ga": program, **_libraries(program)}


def _libraries(program: Path) -> Mapping[str, Path]:
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return {path.lstrip("/"): Path(path).resolve() for path in re.findall(r"(/\S+) \(0x", listed)}


def _first(*places: Path) -> Path:
    for place in places:
        if place.exists():
            return place
    raise LabFailed(f"no {places[0].name}: run deploy/install/system.sh")


def _output(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


class PacedGuest:
    """Not running yet. Its files lie in one folder, which the host calls `inside` and this process `folder`."""

    def __init__(
        self,
        name: str,
        virsh: Callable[..., str],
        folder: Path,
        inside: str,
        *,
        channel: bool = True,
        disk_mib: int = 0,
        hooks: Mapping[str, Path] = MappingProxyType({}),
    ) -> None:
        """`disk_mib`: size of vdb, none for 0. `virsh` takes a command line's words.

        `hooks`: scripts by their names in fsfreeze-hook.d, called by Debian's own hook; none: the guest's program is the hook.
        """
        self.name, self.virsh, self._folder, self._inside = name, virsh, folder, inside
        self._hooks = hooks
        self.console = folder / f"{name}.console"
        self._told = 0
        targets = ["vda", *(["vdb"] if disk_mib else [])]
        for target in targets:
            self._make_disk(target, disk_mib if target == "vdb" else DATA_MIB)
        text = _DOMAIN.format(
            name=name,
            kernel=find_kernel(BUILD / "kernel").image,
            initrd=self._make_initrd(),
            disks="".join(_DISK.format(folder=inside, name=name, target=target) for target in targets),
            folder=inside,
            channel=_CHANNEL.format(folder=inside, name=name) if channel else "",
        )
        definition = folder / f"{name}.xml"
        definition.write_text(text)
        virsh("define", f"{inside}/{name}.xml")
        definition.unlink()
        self.vm_id = virsh("domuuid", name).strip()

    def disk(self, target: str) -> Path:
        return self._folder / f"{self.name}-{target}.qcow2"

    def fill(self) -> None:
        """Give vdb content that neither compresses nor repeats. Before it starts."""
        size = int(json.loads(_output("qemu-img", "info", "--output", "json", str(self.disk("vdb"))))["virtual-size"])
        raw = self.disk("vdb").with_suffix(".raw")
        with raw.open("wb") as file:
            for _ in range(size // (8 * MIB)):
                file.write(os.urandom(8 * MIB))
        run_tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(self.disk("vdb")))
        raw.unlink()

    def start(self) -> None:
        """Returns when it works and its agent answers, where it has one."""
        self.virsh("start", self.name)
        wait_for(f"{self.name} to work", lambda: "READY" in self.said(), 120, self.tail)

    def await_agent(self) -> None:
        def answers() -> bool:
            try:
                self.virsh("qemu-agent-command", self.name, "--timeout", "2", '{"execute": "guest-ping"}')
            except (subprocess.SubprocessError, LabFailed):
                return False
            return True

        wait_for(f"the agent of {self.name}", answers, 60, self.tail)

    def said(self) -> str:
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def tail(self) -> str:
        return f"--- console of {self.name}\n{tail(self.console)}"

    def command(self, line: str, timeout_seconds: float = 30) -> str:
        """What it says from here until it is done."""
        told = len(self.said())
        directory = os.open(self._folder, os.O_RDONLY)
        try:
            with socket.socket(socket.AF_UNIX) as channel:
                channel.connect(f"/proc/self/fd/{directory}/{self.name}.commands")
                channel.sendall(line.encode() + b"\n")
                wait_for(
                    f"{self.name} to {line}", lambda: f"DONE {line}" in self.said()[told:], timeout_seconds, self.tail
                )
        finally:
            os.close(directory)
        return self.said()[told:]

    def latencies(self) -> Took:
        """Of the paced writes since the last `mark` or report."""
        found = _LATENCY.search(self.command("report"))
        if found is None:
            raise LabFailed(f"no report\n{self.tail()}")
        count, p50, p90, p99, longest, total = found.groups()
        return Took(int(count), float(p50), float(p90), float(p99), float(longest), int(total))

    def remember(self) -> None:
        """`longest_gap_ms` looks at what is said from here on."""
        self._told = len(self.said())

    def longest_gap_ms(self) -> int:
        """The longest that one synced write to the file system took, or takes now: how long the guest stood."""
        return max((int(gap) for _, gap in _TICK.findall(self.said(), self._told)), default=0)

    def written(self) -> int:
        """Synced writes to the file system so far."""
        found = _TICK.findall(self.said())
        return int(found[-1][0]) if found else 0

    def await_writes(self, writes: int = 10, timeout_seconds: float = 60) -> None:
        goal = self.written() + writes
        wait_for(f"{self.name} to write", lambda: self.written() >= goal, timeout_seconds, self.tail)

    def hooks(self) -> list[str]:
        """Of "freeze" and "thaw", as its hook was called, since `remember`."""
        return re.findall(r"^HOOK (\w+)", self.said()[self._told :], re.MULTILINE)

    def assert_never_failed(self) -> None:
        assert "FAILED" not in self.said(), self.tail()

    def remove(self) -> None:
        for words in (("destroy", self.name), ("undefine", self.name, "--checkpoints-metadata")):
            try:
                self.virsh(*words)
            except (subprocess.SubprocessError, LabFailed):
                continue
        for path in self._folder.glob(f"{self.name}[.-]*"):
            path.unlink()

    def _make_disk(self, target: str, size_mib: int) -> None:
        disk = self.disk(target)
        if target != "vda":
            return run_tool("qemu-img", "create", "-q", "-f", "qcow2", str(disk), f"{size_mib}M")
        raw = disk.with_suffix(".raw")
        with raw.open("wb") as file:
            file.truncate(size_mib * MIB)
        run_tool("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", str(raw))
        run_tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(disk))
        return raw.unlink()

    def _files(self) -> dict[str, Path]:
        files = dict(agent_files())
        if self._hooks:
            files |= {
                HOOK: _first(BUILD / "guest-agent" / HOOK, Path("/") / HOOK),
                "bin/sh": Path("/bin/busybox").resolve(),
            }
            files |= {f"{HOOK}.d/{name}": script for name, script in self._hooks.items()}
        return files

    def _make_initrd(self) -> str:
        work = self._folder / f"{self.name}.work"
        work.mkdir()
        program = work / "init"
        source = Path(__file__).with_suffix(".c")
        run_tool("gcc", "-O2", "-std=c11", "-Wall", "-Wextra", "-static", "-pthread", "-o", str(program), str(source))
        initrd = make_initrd(work, program, find_kernel(BUILD / "kernel"), more_files=self._files())
        shutil.move(initrd, self._folder / f"{self.name}.initrd")
        shutil.rmtree(work)
        return f"{self._inside}/{self.name}.initrd"
