"""Restoring disks and VMs on a real libvirt: what is made, what is refused, what is left when it fails."""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.agent.errors import HypervisorError, RestoreRefused
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.agent.restore.libvirt_target import LibvirtTarget, open_target
from seawall.agent.restore.port import RestoreRequest
from seawall.agent.restore.settings import RestoreSettings
from seawall.agent.restore.sweep import sweep_restores
from seawall.repository.clock import SystemClock
from seawall.repository.format.manifest import DiskManifest, Root
from support.libvirt_host import LibvirtHost, disk_xml, domain_xml

pytestmark = pytest.mark.system
pytest_plugins = ["support.libvirt_fixtures"]

MIB = 1024 * 1024
QCOW2_BYTES = 64 * MIB
RAW_BYTES = 8 * MIB + 512
VM_ID = "0b1c6f0e-3d0a-4b8e-9f5a-27d2a1e0c7aa"
NAME = "web 1's “größe” & co"  # as an operator may name a VM


@pytest.fixture
def hypervisor(host: LibvirtHost) -> Iterator[LibvirtHypervisor]:
    hypervisor = LibvirtHypervisor(host.uri)
    yield hypervisor
    for domain in hypervisor.domains():
        hypervisor.stop(domain.vm_id)
        hypervisor.undefine(domain.vm_id)
    for path in host.images.iterdir():
        path.unlink()
    hypervisor.close()


@pytest.fixture
def settings(host: LibvirtHost) -> RestoreSettings:
    return RestoreSettings(
        run_dir=host.folder / "sw", state_dir=host.folder / "state", images_dir=host.images, trusted_dirs=(host.images,)
    )


def a_disk(target: str, size_bytes: int, disk_format: str, source: Path) -> DiskManifest:
    return DiskManifest(
        disk=target,
        size_bytes=size_bytes,
        format=disk_format,
        source=str(source),
        sector_bytes=512,
        grid_phase=0,
        chunk_nominal_bytes=65536,
        how="full",
        why="",
        nodes=(),
    )


@pytest.fixture
def request_(host: LibvirtHost) -> RestoreRequest:
    disks = (
        a_disk("vda", QCOW2_BYTES, "qcow2", host.images / "a.qcow2"),
        a_disk("vdb", RAW_BYTES, "raw", host.images / "b.raw"),
    )
    root = Root(b"l", "t", VM_ID, NAME, "p", "", 1, 1, False, disks, members=(), checkpoint=None, warnings=())
    xml = domain_xml(
        NAME,
        disk_xml(Path("/somewhere/a.qcow2"), "vda", "qcow2") + disk_xml(Path("/somewhere/b.raw"), "vdb", "raw"),
        extra=f"<serial type='file'><source path='{host.folder}/log/guest.console'/><target port='1'/></serial>"
        "<interface type='network'><mac address='52:54:00:01:02:03'/><source network='gone'/></interface>"
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>",
    )
    return RestoreRequest("a1", root, xml, "", False, True, "", ())


def filled(target: LibvirtTarget) -> dict[str, bytes]:
    """Write something to every disk; the expected contents."""
    expected = {}
    for disk, size in zip(target.disks, (QCOW2_BYTES, RAW_BYTES), strict=False):
        content = bytearray(size)
        for offset, byte in ((0, 0x11), (4 * MIB, 0x22), (size - 512, 0x33)):
            piece = bytes([byte]) * min(2 * MIB + 512, size - offset)
            disk.sink.write(offset, memoryview(piece))
            content[offset : offset + len(piece)] = piece
        disk.sink.zero(3 * MIB, MIB)
        expected[disk.target] = bytes(content)
    return expected


def content(path: Path, disk_format: str) -> bytes:
    out = path.with_suffix(".truth")
    subprocess.run(["qemu-img", "convert", "-U", "-f", disk_format, "-O", "raw", str(path), str(out)], check=True)
    found = out.read_bytes()
    out.unlink()
    return found


def names(folder: Path) -> Sequence[str]:
    return sorted(path.name for path in folder.iterdir())


def test_vm_is_restored_and_runs(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, settings: RestoreSettings, request_: RestoreRequest
) -> None:
    settings = replace(settings, console_dir=host.folder / "log")
    with open_target(replace(request_, start=False), hypervisor, settings, SystemClock()) as target:
        expected = filled(target)
        assert all(name.startswith(".seawall-a1-") for name in names(host.images))
        assert target.finish() == VM_ID
        target.keep()
    assert content(host.images / "a.qcow2", "qcow2") == expected["vda"]
    assert content(host.images / "b.raw", "raw") == expected["vdb"]
    assert (host.images / "b.raw").stat().st_blocks * 512 < RAW_BYTES  # holes stay holes
    assert [reason for reason, _ in target.warnings] == ["NETWORK_MISSING"]
    assert names(host.images) == ["a.qcow2", "b.raw"]
    assert not (settings.run_dir / "restores").exists()
    hypervisor.start(VM_ID)
    domain = hypervisor.domain(VM_ID)
    assert (domain.name, domain.state) == (NAME, "running")
    assert [(disk.target, disk.capacity_bytes) for disk in domain.disks] == [("vda", QCOW2_BYTES), ("vdb", RAW_BYTES)]
    assert (host.folder / "log/guest.console").exists()


def test_start_and_new_identity_beside_the_old_vm(
    hypervisor: LibvirtHypervisor, settings: RestoreSettings, request_: RestoreRequest
) -> None:
    with open_target(request_, hypervisor, settings) as target:
        target.finish()
        target.keep()
    with pytest.raises(RestoreRefused) as caught:
        open_target(replace(request_, attempt_id="a2"), hypervisor, settings)
    for sentence in ("is a disk of the VM", "A VM named", "has the UUID", "has the MAC address"):
        assert sentence in str(caught.value)
    assert "--new-identity" in caught.value.next_step
    again = replace(request_, attempt_id="a3", vm_name="copy", new_identity=True)
    with open_target(again, hypervisor, settings) as target:
        vm_id = target.finish()
        target.keep()
    assert vm_id != VM_ID
    assert {(one.name, one.state) for one in hypervisor.domains()} == {(NAME, "running"), ("copy", "running")}
    assert names(settings.images_dir) == ["a.qcow2", "b.raw", "copy-vda.qcow2", "copy-vdb.raw"]


def test_rollback_removes_what_was_made_and_nothing_else(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, settings: RestoreSettings, request_: RestoreRequest
) -> None:
    elsewhere = host.folder / "new" / "folder"
    there = replace(request_, directory=str(elsewhere))
    (host.images / "mine").touch()
    with pytest.raises(RuntimeError), open_target(there, hypervisor, settings) as target:
        filled(target)
        raise RuntimeError("the download failed")
    assert not elsewhere.parent.exists()
    assert names(host.images) == ["mine"] and hypervisor.domains() == []
    assert not (settings.run_dir / "restores").exists()


def test_vm_that_cannot_start_is_kept_and_told_of(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, settings: RestoreSettings, request_: RestoreRequest
) -> None:
    text = request_.domain_xml.replace("<memory unit='MiB'>64<", "<memory unit='GiB'>4000000<")
    huge = replace(request_, domain_xml=text)
    with open_target(huge, hypervisor, settings) as target:
        assert target.finish() == VM_ID
        target.keep()
    reason, message = target.warnings[-1]
    assert reason == "NOT_STARTED" and "libvirt" in message
    assert names(host.images) == ["a.qcow2", "b.raw"]
    assert [one.state for one in hypervisor.domains()] == ["shut off"]


def test_definition_that_libvirt_refuses_is_rolled_back(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, settings: RestoreSettings, request_: RestoreRequest
) -> None:
    bad = replace(request_, domain_xml=request_.domain_xml.replace("bus='virtio'", "bus='nonsense'"))
    with pytest.raises(HypervisorError, match="libvirt"), open_target(bad, hypervisor, settings) as target:
        assert target.finish() == "never"
    assert names(host.images) == [] and hypervisor.domains() == []


def test_single_disks_become_files(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, settings: RestoreSettings, request_: RestoreRequest
) -> None:
    folder = host.folder / "files"
    with open_target(replace(request_, disks=("vda",), directory=str(folder)), hypervisor, settings) as target:
        expected = filled(target)
        assert target.finish() == ""
        target.keep()
    assert names(folder) == ["vda.qcow2"]
    assert content(folder / "vda.qcow2", "qcow2") == expected["vda"]
    assert hypervisor.domains() == []


def swept(hypervisor: LibvirtHypervisor, settings: RestoreSettings, *live: str) -> tuple[int, dict[str, str]]:
    """How many things were removed, and what was found complete."""
    restored: dict[str, str] = {}
    done = sweep_restores(
        settings.run_dir, settings.state_dir, live, hypervisor.domains, lambda one, vm_id: restored.update({one: vm_id})
    )
    return len(done.removed), restored


def test_dead_worker_leaves_nothing_in_the_way(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, settings: RestoreSettings, request_: RestoreRequest
) -> None:
    dead = open_target(request_, hypervisor, settings)  # never left, as if its worker had been killed
    assert swept(hypervisor, settings, "a1") == (0, {})
    with open_target(replace(request_, attempt_id="a2"), hypervisor, settings) as target:
        target.finish()
        target.keep()
    assert swept(hypervisor, settings) == (3, {})  # its qemu-nbd and two disks
    assert names(host.images) == ["a.qcow2", "b.raw"]
    dead.roll_back()
    assert names(host.images) == ["a.qcow2", "b.raw"]


def test_worker_killed_before_the_vm_is_defined_leaves_nothing_in_the_way(
    host: LibvirtHost,
    hypervisor: LibvirtHypervisor,
    settings: RestoreSettings,
    request_: RestoreRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = open_target(request_, hypervisor, settings)
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(hypervisor, "define", _killed)
        dead.finish()
    assert names(host.images) == ["a.qcow2", "b.raw"]
    assert swept(hypervisor, settings) == (2, {}) and names(host.images) == []
    with open_target(replace(request_, attempt_id="a2"), hypervisor, settings) as target:
        target.finish()
        target.keep()


def test_worker_killed_after_the_vm_is_defined_leaves_it(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, settings: RestoreSettings, request_: RestoreRequest
) -> None:
    """It is complete, and its owner may use it already."""
    open_target(request_, hypervisor, settings).finish()
    assert swept(hypervisor, settings) == (0, {"a1": VM_ID})
    assert names(host.images) == ["a.qcow2", "b.raw"]
    assert [one.state for one in hypervisor.domains()] == ["running"]
    assert not (settings.state_dir / "restores").exists()


def test_a_vm_that_somebody_else_defined_meanwhile_runs_on(
    host: LibvirtHost,
    hypervisor: LibvirtHypervisor,
    settings: RestoreSettings,
    request_: RestoreRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The original came back under its UUID while the copy was filled, and libvirt did not answer when that was to be defined."""
    define = hypervisor.define

    def lost(_text: str) -> str:
        text = domain_xml("original", disk_xml(host.image("original.qcow2", "qcow2", MIB), "vda", "qcow2"))
        hypervisor.start(define(text.replace("</name>", f"</name><uuid>{VM_ID}</uuid>", 1)))
        raise HypervisorError("libvirt did not answer")

    with monkeypatch.context() as patched, pytest.raises(HypervisorError, match="did not answer"):
        patched.setattr(hypervisor, "define", lost)
        with open_target(request_, hypervisor, settings) as target:
            target.finish()
    assert [(one.name, one.vm_id, one.state) for one in hypervisor.domains()] == [("original", VM_ID, "running")]
    assert names(host.images) == ["original.qcow2"]


def _killed(xml: str) -> str:
    raise SystemExit(9)


def test_a_file_is_no_folder(
    hypervisor: LibvirtHypervisor, settings: RestoreSettings, request_: RestoreRequest, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for directory in (taken, taken / "below"):
        with pytest.raises(RestoreRefused, match="is not a folder") as caught:
            open_target(replace(request_, disks=("vda",), directory=str(directory)), hypervisor, settings)
        assert caught.value.reason == "DIRECTORY_UNUSABLE"
    assert taken.read_text() == "mine"
