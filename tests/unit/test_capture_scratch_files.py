"""Scratch files made before the freeze: of the disks' sizes, of their folder's owner, and never what somebody put in their place."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from seawall.agent.capture.scratch_files import made_before
from seawall.agent.disk.qcow2 import create_for
from seawall.agent.errors import HypervisorError
from seawall.agent.hypervisor.port import BackupDisk

MIB = 1 << 20


def disk(folder: Path, target: str) -> BackupDisk:
    return BackupDisk(target, folder / f"{target}.scratch", None, True)


def virtual_size(path: Path) -> int:
    told = subprocess.run(["qemu-img", "info", "--output=json", path], check=True, capture_output=True, text=True)
    return int(json.loads(told.stdout)["virtual-size"])


def test_each_has_its_disks_size_in_whole_sectors(tmp_path: Path) -> None:
    made = made_before([disk(tmp_path, "vda"), disk(tmp_path, "vdb")], [3 * MIB, 1_000_001])
    assert all(one.scratch_made for one in made)
    assert [virtual_size(one.scratch) for one in made] == [3 * MIB, 1_000_448]
    assert [one.scratch.stat().st_mode & 0o777 for one in made] == [0o600, 0o600]


def test_they_belong_to_who_owns_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 64055, 994)
    (made,) = made_before([disk(tmp_path, "vda")], [MIB])
    assert (made.scratch.stat().st_uid, made.scratch.stat().st_gid) == (64055, 994)


def test_those_of_an_earlier_try_are_made_anew(tmp_path: Path) -> None:
    one = disk(tmp_path, "vda")
    one.scratch.write_bytes(b"old" * 1000)
    made_before([one], [MIB])
    assert virtual_size(one.scratch) == MIB


def test_where_a_size_is_not_known_libvirt_makes_them(tmp_path: Path) -> None:
    disks = [disk(tmp_path, "vda"), disk(tmp_path, "vdb")]
    assert made_before(disks, [MIB, 0]) == disks and not list(tmp_path.iterdir())


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """QEMU's user may write to the folder, and this process is root."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "vda.scratch"
    path.symlink_to(victim)
    with pytest.raises(FileExistsError):
        create_for(path, MIB, (0, 0))
    assert victim.read_text() == "precious"


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(HypervisorError) as raised:
        made_before([disk(tmp_path / "gone", "vda")], [MIB])
    assert raised.value.reason == "SCRATCH_UNUSABLE"
