"""What a dead restore leaves: incomplete files go, complete ones stay and are remembered, and nobody else's are touched."""

import os
from pathlib import Path

import pytest

from seawall.agent.errors import DiskUnwritable
from seawall.agent.hypervisor.port import Domain, DomainDisk
from seawall.agent.restore.placing import put_in_place, rename_without_replacing
from seawall.agent.restore.sweep import SweptRestores, sweep_restores
from seawall.agent.restore.unfinished import (
    RestoreList,
    UnfinishedDisk,
    inode_of,
    lists_dir,
    note,
    noted,
    restores_dir,
    unfinished_path,
)


class Host:
    """Run and state folders, and what the sweep would ask of libvirt and of the journal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir, self.state_dir = folder / "run", folder / "state"
        self.domains: list[Domain] = []
        self.restored: dict[str, str] = {}

    def begin(self, *names: str, vm_id: str = "", folders: tuple[Path, ...] = ()) -> RestoreList:
        """Attempt a1, its disks written under their unfinished names."""
        finals = [self.folder / name for name in names]
        disks = tuple(UnfinishedDisk(unfinished_path(final, "a1"), final) for final in finals)
        made = RestoreList("a1", vm_id, disks, folders)
        note(self.state_dir, made)
        (restores_dir(self.run_dir) / "a1").mkdir(parents=True)
        for one in disks:
            one.unfinished.parent.mkdir(parents=True, exist_ok=True)
            one.unfinished.write_text(f"the disk {one.final.name}")
        return made

    def place(self, made: RestoreList, count: int) -> None:
        """All are complete; that many get their names before the worker is killed."""
        disks = tuple(UnfinishedDisk(one.unfinished, one.final, inode_of(one.unfinished)) for one in made.disks)
        note(self.state_dir, RestoreList(made.attempt_id, made.vm_id, disks, made.folders))
        for one in disks[:count]:
            put_in_place(one.unfinished, one.final)

    def defines(self, vm_id: str, *names: str) -> None:
        disks = tuple(DomainDisk(n, "disk", "file", str(self.folder / n), "raw", 1, False, False, False) for n in names)
        self.domains.append(Domain(vm_id, "web", "running", disks))

    def sweep(self, *live: str) -> SweptRestores:
        return sweep_restores(
            self.run_dir, self.state_dir, live, lambda: self.domains, lambda a, vm: self.restored.update({a: vm})
        )

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.is_file())

    def forgotten(self) -> bool:
        return not lists_dir(self.state_dir).exists() and not restores_dir(self.run_dir).exists()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_live_restore_is_left_alone(host: Host) -> None:
    host.begin("vda")
    assert host.sweep("a1") == SweptRestores() and len(host.files()) == 1


@pytest.mark.parametrize("placed", [0, 1])
def test_what_is_incomplete_goes(host: Host, placed: int) -> None:
    (host.folder / "mine").touch()
    folder = host.folder / "new"
    host.place(host.begin("vda", "vdb", "new/vdc", folders=(folder,)), placed)
    assert len(host.sweep().removed) == 3
    assert host.files() == ["mine"] and not folder.exists() and host.restored == {} and host.forgotten()


@pytest.mark.parametrize("placed", [1, 2])
def test_disks_in_place_without_their_vm_go(host: Host, placed: int) -> None:
    host.place(host.begin("vda", "vdb", vm_id="vm-1"), placed)
    host.defines("vm-2", "other")
    assert len(host.sweep().removed) == 2
    assert host.files() == [] and host.restored == {} and host.forgotten()


def test_a_vm_that_was_defined_stays_and_is_remembered(host: Host) -> None:
    host.place(host.begin("vda", "vdb", vm_id="vm-1"), 2)
    host.defines("vm-1", "vda", "vdb")
    assert host.sweep().removed == []
    assert host.files() == ["vda", "vdb"] and host.restored == {"a1": "vm-1"} and host.forgotten()


def test_files_that_were_all_in_place_stay_and_are_remembered(host: Host) -> None:
    host.place(host.begin("vda", "vdb"), 2)
    assert host.sweep().removed == []
    assert host.files() == ["vda", "vdb"] and host.restored == {"a1": ""} and host.forgotten()


def test_a_file_that_took_the_name_since_is_nobodys_to_remove(host: Host) -> None:
    host.place(host.begin("vda", "vdb"), 1)
    (host.folder / "vda").rename(host.folder / "kept by its owner")
    (host.folder / "vda").write_text("another file")
    host.sweep()
    assert host.files() == ["kept by its owner", "vda"]


def test_a_list_that_names_other_files_is_not_believed(host: Host) -> None:
    (host.folder / "precious").touch()
    note(host.state_dir, RestoreList("a1", "", (UnfinishedDisk(host.folder / "precious", host.folder / "x"),)))
    host.sweep()
    assert host.files() == ["precious"] and host.forgotten()


def test_a_torn_list_is_none(host: Host) -> None:
    host.begin("vda")
    (lists_dir(host.state_dir) / "a1.json").write_text("{")
    assert noted(host.state_dir, "a1") is None
    host.sweep()
    assert host.forgotten()


def test_a_list_that_cannot_be_written_is_said(host: Host) -> None:
    host.state_dir.write_text("not a folder")
    with pytest.raises(DiskUnwritable) as caught:
        note(host.state_dir, RestoreList("a1", "", ()))
    assert caught.value.reason == "STATE_UNWRITABLE" and "written down" in str(caught.value)


@pytest.mark.parametrize("links", [True, False])
def test_complete_files_never_replace_others(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    final = tmp_path / ("ü" * 120 + ".qcow2")
    unfinished = unfinished_path(final, "a1")
    unfinished.write_text("new")
    put_in_place(unfinished, final)
    assert final.read_text() == "new" and not unfinished.exists()
    unfinished.write_text("other")
    with pytest.raises(DiskUnwritable, match="appeared"):
        put_in_place(unfinished, final)
    assert final.read_text() == "new" and unfinished.read_text() == "other"


def test_a_rename_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rename_without_replacing(tmp_path / "absent", tmp_path / "target")


def _no_links(source: Path, target: Path) -> None:
    raise PermissionError(1, "Operation not permitted")
