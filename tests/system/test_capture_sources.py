"""Disks that are no plain files: block devices, NBD, volumes of a pool, encrypted images; running and off, each compared whole."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.errors import VmStarted
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from support.block_device import loop_device
from support.captured_vm import MIB, Vm, capture, content, left_behind, overlaid, root_of
from support.libvirt_host import LibvirtHost, await_true, domain_xml

pytestmark = [pytest.mark.system, pytest.mark.slow]
pytest_plugins = ["support.libvirt_fixtures", "support.captured_vm_fixtures"]

SIZE = 8 * MIB
SECRET = "7f4b7f3c-55ab-4d6f-9d6e-7d0f3f0a1c11"
_SECRET_XML = f"<secret ephemeral='no' private='no'><uuid>{SECRET}</uuid><usage type='volume'><volume>capture</volume></usage></secret>"
_ENCRYPTED = f"<encryption format='luks'><secret type='passphrase' uuid='{SECRET}'/></encryption>"
_KEY = ["--object", "secret,id=s0,data=odd"]
HOW = {"vda": "compare", "vdb": "bitmap", "vdc": "compare", "vdd": "bitmap", "vde": "bitmap"}


def tool(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


class Sources(Vm):
    """vda raw on a device, vdb qcow2 on a device, vdc raw over NBD, vdd a qcow2 volume, vde encrypted qcow2."""

    def __init__(self, host: LibvirtHost, hypervisor: LibvirtHypervisor, name: str, stack: ExitStack) -> None:
        self.host, self.hypervisor, self.name = host, hypervisor, name
        devices = [
            stack.enter_context(loop_device(host.folder / f"{name}-loop{number}", 2 * SIZE)) for number in (0, 1)
        ]
        tool("qemu-img", "create", "-f", "qcow2", devices[1], str(SIZE))
        served, socket = host.image(f"{name}-nbd.raw", "raw", SIZE), host.folder / f"{name}.nbd"
        server = subprocess.Popen(
            ["qemu-nbd", "-t", "-e", "8", "-f", "raw", "-x", "disk", "-k", str(socket), str(served)]
        )
        stack.callback(server.wait)
        stack.callback(server.kill)
        await_true(socket.exists, "the NBD server listens")
        volume, encrypted = host.images / f"{name}-volume.qcow2", host.images / f"{name}-luks.qcow2"
        host.virsh("pool-define-as", name, "dir", "--target", str(host.images))
        stack.callback(host.virsh, "pool-undefine", name)
        host.virsh("pool-start", name)
        stack.callback(host.virsh, "pool-destroy", name)
        tool("qemu-img", "create", "-f", "qcow2", volume, str(SIZE))  # libvirt would make one of version 2
        host.virsh("pool-refresh", name)
        (host.folder / "secret.xml").write_text(_SECRET_XML)
        host.virsh("secret-define", str(host.folder / "secret.xml"))
        stack.callback(host.virsh, "secret-undefine", SECRET)
        host.virsh("secret-set-value", SECRET, "b2Rk")
        luks = "encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=10"
        tool("qemu-img", "create", *_KEY, "-f", "qcow2", "-o", luks, encrypted, str(SIZE))
        keyed = f"driver=qcow2,encrypt.format=luks,encrypt.key-secret=s0,file.driver=file,file.filename={encrypted}"
        self._readers = {
            "vda": ["-f", "raw", str(devices[0])],
            "vdb": ["-f", "qcow2", str(devices[1])],
            "vdc": ["-f", "raw", str(served)],
            "vdd": ["-f", "qcow2", str(volume)],
            "vde": [*_KEY, "--image-opts", keyed],
        }
        nbd = f"<source protocol='nbd' name='disk'><host transport='unix' socket='{socket}'/></source>"
        rows = [
            ("vda", "block", "raw", f"<source dev='{devices[0]}'/>"),
            ("vdb", "block", "qcow2", f"<source dev='{devices[1]}'/>"),
            ("vdc", "network", "raw", nbd),
            ("vdd", "volume", "qcow2", f"<source pool='{name}' volume='{volume.name}'/>"),
            ("vde", "file", "qcow2", f"<source file='{encrypted}'>{_ENCRYPTED}</source>"),
        ]
        disks = "".join(_disk(*row) for row in rows)
        self.vm_id = hypervisor.define(domain_xml(name, disks))
        hypervisor.start(self.vm_id)

    def write_all(self, command: str) -> None:
        for target in HOW:
            self.io(target, command)
            self.io(target, "flush")

    def truth_of_files(self) -> dict[str, bytes]:
        found = {}
        for target, reader in self._readers.items():
            out = self.host.folder / f"truth-{target}.raw"
            tool("qemu-img", "convert", "-U", *reader[:-1], "-O", "raw", reader[-1], out)
            found[target] = out.read_bytes()
            out.unlink()
        return found


def _disk(target: str, kind: str, disk_format: str, source: str) -> str:
    return (
        f"<disk type='{kind}' device='disk'><driver name='qemu' type='{disk_format}' discard='unmap'/>{source}"
        f"<target dev='{target}' bus='virtio'/><alias name='ua-{target}'/></disk>"
    )


@pytest.fixture
def sources(host: LibvirtHost, hypervisor: LibvirtHypervisor) -> Iterator[Sources]:
    with ExitStack() as stack:
        made = Sources(host, hypervisor, "sources", stack)
        yield made
        hypervisor.stop(made.vm_id)
        hypervisor.undefine(made.vm_id)


def test_every_kind_of_source_is_exact_running_and_off(sources: Sources, settings: CaptureSettings) -> None:
    sources.write_all("write -P 1 0 4M")
    truth = sources.truth_of_files()
    with capture(sources, settings, "a1") as taken:
        sources.write_all("write -P 2 1M 64k")
        assert {one.target: one.how for one in taken.disks} == dict.fromkeys(HOW, "full")
        assert {one.target: content(one) for one in taken.disks} == truth
        taken.check()
        taken.keep_checkpoint()
        parent = root_of(sources, list(taken.disks), taken.checkpoint)
    for attempt, on in (("a2", True), ("a3", False), ("a4", False)):
        before = truth
        if on:
            sources.write_all("write -P 3 2M 64k")
        elif sources.hypervisor.is_active(sources.vm_id):
            sources.write_all("write -P 4 3M 64k")
            sources.hypervisor.stop(sources.vm_id)
        truth = sources.truth_of_files()
        with capture(sources, settings, attempt, parent) as taken:
            untold = {"vdb": "compare"} if attempt == "a4" else {}  # whether a device was written since the last point
            how = HOW | untold
            assert {one.target: one.how for one in taken.disks} == how, [one.why for one in taken.disks]
            for one in taken.disks:
                held = overlaid(before[one.target], one) if one.how == "bitmap" else content(one)
                assert held == truth[one.target], one.target
            taken.check()
            taken.keep_checkpoint()
            taken.delete_older_checkpoints()
            parent = root_of(sources, list(taken.disks), taken.checkpoint)
        assert left_behind(settings, attempt) == []


def test_a_start_of_the_vm_is_never_refused_for_our_reading(sources: Sources, settings: CaptureSettings) -> None:
    sources.write_all("write -P 1 0 4M")
    sources.hypervisor.stop(sources.vm_id)
    with capture(sources, settings, "b1") as taken:
        for one in taken.disks:
            content(one)
        taken.check()
        sources.hypervisor.start(sources.vm_id)
        sources.write_all("write -P 5 0 64k")
        with pytest.raises(VmStarted):
            taken.check()
