"""VMs that boot nothing, with odd names and disks, on the laboratory's hosts: made, written to, compared, and cleared away.

Writes are played by QEMU's monitor, the truth is read by qemu-img, restored images are compared by qemu-img: none of it is Seawall's.
"""

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from deploy.lab.guest_image import run_tool
from deploy.lab.laboratory import OPERATOR_FILE, Laboratory, seawall_command
from deploy.lab.waiting import wait_for

from support.cli_command import Answer

IMAGES = "/var/lib/libvirt/images"
SECTOR_BYTES = 512
_DOMAIN = """<domain type='qemu'><name>{name}</name><uuid>{vm_id}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>{disks}{extra}
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""


@dataclass(frozen=True)
class OddDisk:
    """A disk of a VM. `path` is on the host; `reader` is how qemu-img opens it, by default as a file of its format."""

    target: str
    path: str
    format: str
    inner: str = ""
    device: str = "disk"
    bus: str = "virtio"
    source: str = ""  # XML, where it is no plain file
    kind: str = "file"
    reader: tuple[str, ...] = ()

    @property
    def xml(self) -> str:
        source = self.source or (f"<source file={quoteattr(self.path)}/>" if self.path else "")
        return (
            f"<disk type='{self.kind}' device='{self.device}'><driver name='qemu' type='{self.format}' discard='unmap'/>{source}"
            f"<target dev='{self.target}' bus='{self.bus}'/>{self.inner}<alias name='ua-{self.target}'/></disk>"
        )

    @property
    def opened(self) -> tuple[str, ...]:
        return self.reader or ("-f", self.format, f"file:{self.path}")


def operate(lab: Laboratory, *words: str, timeout_seconds: float = 120) -> Answer:
    """The public command line on the hub, to its end, whatever that is."""
    done = lab.hub.run(
        [seawall_command(), *words],
        timeout_seconds=timeout_seconds,
        env={"SEAWALL_CONFIG": OPERATOR_FILE},
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


class OddVm:
    """A VM on alpha."""

    def __init__(self, lab: Laboratory, name: str, disks: Sequence[OddDisk], extra: str = "") -> None:
        self.lab, self.name, self.disks, self.extra = lab, name, tuple(disks), extra
        self.vm_id = str(uuid.uuid4())
        self.hypervisor = lab.hypervisors["alpha"]
        self.host = lab.hosts["alpha"]

    def define(self) -> None:
        text = _DOMAIN.format(
            name=escape(self.name), vm_id=self.vm_id, disks="".join(one.xml for one in self.disks), extra=self.extra
        )
        place = f"{IMAGES}/{self.vm_id}.xml"
        self.host.outside(place).write_text(text)
        try:
            self.hypervisor.virsh("define", place)
        finally:
            self.host.outside(place).unlink()

    def start(self) -> None:
        """Paused: its firmware runs no instruction, and its disks change by `write` alone."""
        self.hypervisor.virsh("start", "--paused", self.vm_id)

    def await_known(self) -> None:
        """Until the controller has heard of it."""
        wait_for(self.name, lambda: operate(self.lab, "vm", "show", self.vm_id).code == 0, 30, self.lab.logs)

    def write(self, target: str, offset: int, length: int, pattern: int) -> None:
        """As the guest would, and flushed, so that qemu-img sees it."""
        self.write_all([(target, offset, length)], pattern)

    def write_ends(self, sizes: Mapping[str, int], pattern: int) -> None:
        """On each disk the first and the last sector, and where a 64 MiB page ends, as far as the disk reaches."""
        page = 64 * 1024 * 1024
        self.write_all(
            [
                (target, offset, SECTOR_BYTES)
                for target, size in sizes.items()
                for offset in sorted({0, size - SECTOR_BYTES, page - SECTOR_BYTES, page})
                if 0 <= offset <= size - SECTOR_BYTES
            ],
            pattern,
        )

    def write_all(self, places: Sequence[tuple[str, int, int]], pattern: int) -> None:
        """(target, offset, length) each, by one virsh."""
        buses = {one.target: one.bus for one in self.disks}
        lines = []
        for target, offset, length in places:
            device = f"/machine/peripheral/ua-{target}" + ("/virtio-backend" if buses[target] == "virtio" else "")
            lines += [f'qemu-io -d {device} "{what}"' for what in (f"write -P {pattern} {offset} {length}", "flush")]
        script = "; ".join(f"qemu-monitor-command {self.vm_id} --hmp '{line}'" for line in lines)
        said = self.hypervisor.virsh(script)
        if "rror" in said or "failed" in said:
            raise RuntimeError(f"{places}: {said}")

    def truth(self, folder: Path, targets: Sequence[str] = ()) -> dict[str, Path]:
        """What the guest sees on its disks now, as raw files outside the hosts."""
        folder.mkdir()
        place = f"{IMAGES}/{uuid.uuid4()}.truth"
        found = {}
        for one in self.disks:
            if targets and one.target not in targets:
                continue
            self.host.run(["qemu-img", "convert", "-U", "-O", "raw", *one.opened, place])
            found[one.target] = folder / f"{one.target}.raw"
            run_tool("cp", "--sparse=always", str(self.host.outside(place)), str(found[one.target]))
            self.host.outside(place).unlink()
        return found

    def backup(self, *words: str) -> Any:
        """A run that ended well, by --json."""
        answer = operate(
            self.lab, "backup", self.vm_id, "--repo", "main", "--freeze", "never", *words, "--wait", "--json"
        )
        assert answer.code == 0, f"{answer.out}\n{self.lab.logs()}"
        return answer.json["runs"][0]

    def left_behind(self, *, checkpoints: int) -> list[str]:
        """What is on its host and should not be: jobs, sockets, scratch, more checkpoints than that."""
        found = [] if "None" in self.hypervisor.virsh("domjobinfo", self.vm_id) else ["job"]
        names = self.hypervisor.virsh("checkpoint-list", self.vm_id, "--name").split()
        return found + (names if len(names) > checkpoints else []) + files_of_ours(self.lab, "alpha")

    def await_clean(self, *, checkpoints: int) -> None:
        """The run is over once its point is published; the worker takes the job down right after that."""
        wait_for(
            f"nothing of ours to be left of {self.vm_id}",
            lambda: self.left_behind(checkpoints=checkpoints) == [],
            30,
            lambda: str(self.left_behind(checkpoints=checkpoints)),
        )

    def remove(self) -> None:
        self.hypervisor.virsh("destroy", self.vm_id, check=False)
        self.hypervisor.virsh("undefine", self.vm_id, "--checkpoints-metadata", "--snapshots-metadata", check=False)


@contextmanager
def odd_vm(
    lab: Laboratory, name: str, disks: Sequence[OddDisk], extra: str = "", *, on: bool = True
) -> Iterator[OddVm]:
    """One that the controller knows; gone afterwards, its plain files too."""
    made = OddVm(lab, name, disks, extra)
    made.define()
    try:
        if on:
            made.start()
        made.await_known()
        yield made
    finally:
        made.remove()
        for one in made.disks:
            if one.path.startswith(IMAGES):
                made.host.outside(one.path).unlink(missing_ok=True)


def new_disk(
    lab: Laboratory,
    target: str,
    disk_format: str,
    size_bytes: int,
    *options: str,
    path: str = "",
    inner: str = "",
    device: str = "disk",
    bus: str = "virtio",
) -> OddDisk:
    """An empty image on alpha. Raw ones have any number of bytes."""
    path = path or f"{IMAGES}/{uuid.uuid4()}.{disk_format}"
    if disk_format == "raw":
        lab.hosts["alpha"].run(["truncate", "-s", str(size_bytes), path])
    else:
        create = ["qemu-img", "create", "-q", "-f", disk_format, *options, "--", f"file:{path}", str(size_bytes)]
        lab.hosts["alpha"].run(create)
    return OddDisk(target, path, disk_format, inner, device, bus)


def files_of_ours(lab: Laboratory, host: str) -> list[str]:
    """Sockets, marks, scratch files and unfinished disks on a host."""
    places = ["/run/seawall/agent/captures", "/run/seawall/agent/restores", "/var/lib/seawall/scratch"]
    places += ["/var/lib/seawall/agent/restores"]
    found = lab.hosts[host].run(["find", *places, "!", "-type", "d"], check=False).stdout.splitlines()
    return found + lab.hosts[host].run(["find", IMAGES, "-name", ".seawall-*"], check=False).stdout.splitlines()


def differences(truth: dict[str, Path], restored: dict[str, Path]) -> dict[str, str]:
    """Per disk of the truth: "" when the restored one has the same size and content."""
    return {target: _difference(path, restored[target]) for target, path in truth.items()}


def restored_vm(lab: Laboratory, name: str) -> dict[str, Path]:
    """The files of a VM's disks on beta, seen from the machine."""
    text = lab.hypervisors["beta"].virsh("dumpxml", "--domain", name)
    rows = ElementTree.fromstring(text).iterfind("devices/disk[@device='disk']")
    return {_value(row, "target", "dev"): lab.hosts["beta"].outside(_value(row, "source", "file")) for row in rows}


def _value(row: ElementTree.Element, child: str, name: str) -> str:
    found = row.find(child)
    assert found is not None
    return found.get(name, "")


def _difference(truth: Path, restored: Path) -> str:
    said = subprocess.run(
        ["qemu-img", "info", "--output=json", f"file:{restored}"], capture_output=True, text=True, check=True
    )
    info = json.loads(said.stdout)
    disk_format = "raw" if restored.suffix == ".raw" else info["format"]
    size = truth.stat().st_size
    whole = -(-size // SECTOR_BYTES) * SECTOR_BYTES
    if info["virtual-size"] != whole:
        return f"{info['virtual-size']} bytes instead of {whole}"
    compared = subprocess.run(
        ["qemu-img", "compare", "-f", "raw", "-F", disk_format, f"file:{truth}", f"file:{restored}"],
        capture_output=True,
        text=True,
    )
    return "" if compared.returncode == 0 else (compared.stdout + compared.stderr).strip()


def starts(lab: Laboratory, name: str) -> None:
    """QEMU on beta takes the definition and the images."""
    lab.hypervisors["beta"].virsh("start", "--paused", "--domain", name)


def clear_beta(lab: Laboratory) -> None:
    """No VM and no image is left there; nor was anything unfinished of ours."""
    assert files_of_ours(lab, "beta") == []
    beta = lab.hypervisors["beta"]
    for vm_id in beta.virsh("list", "--all", "--uuid").split():
        beta.virsh("destroy", vm_id, check=False)
        beta.virsh("undefine", vm_id)
    lab.hosts["beta"].run(["find", IMAGES, "-mindepth", "1", "-delete"])
