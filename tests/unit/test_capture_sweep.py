"""What a sweep does about marks and folders of dead captures."""

from pathlib import Path
from typing import cast

from seawall.agent.capture.names import places
from seawall.agent.capture.sweep import sweep
from seawall.agent.hypervisor.port import Hypervisor
from support.capture_guest import Guest


def test_sweep_thaws_what_a_dead_worker_froze(tmp_path: Path) -> None:
    where = places(tmp_path, tmp_path, "a1")
    where.run.mkdir(parents=True)
    where.frozen_mark.write_text("vm")
    guest = Guest(thaw_failures=1)
    assert "does not answer" in sweep(cast(Hypervisor, guest), tmp_path, tmp_path, set(), set()).failed[0]
    assert where.frozen_mark.exists()
    assert "Thawed VM vm." in sweep(cast(Hypervisor, guest), tmp_path, tmp_path, set(), set()).removed
    assert guest.thawed.is_set() and not where.run.exists()


def test_sweep_removes_the_mark_of_a_worker_that_died_before_it_froze(tmp_path: Path) -> None:
    where = places(tmp_path, tmp_path, "a1")
    where.run.mkdir(parents=True)
    where.frozen_mark.touch()
    guest = Guest(thaw_failures=99)
    assert sweep(cast(Hypervisor, guest), tmp_path, tmp_path, set(), set()).failed == []
    assert not where.run.exists()


def test_sweep_leaves_other_files_of_the_scratch_folder_alone(tmp_path: Path) -> None:
    foreign = [tmp_path / "precious" / "vda.scratch", places(tmp_path, tmp_path, "a1").scratch / "notes"]
    for path in foreign:
        path.parent.mkdir(parents=True)
        path.touch()
    sweep(cast(Hypervisor, Guest()), tmp_path, tmp_path, set(), set())
    assert all(path.exists() for path in foreign)


def test_a_paused_guest_counts_as_frozen_until_it_is_thawed(tmp_path: Path) -> None:
    """libvirt calls it "not running", and it would go on frozen when it is resumed."""
    where = places(tmp_path, tmp_path, "a1")
    where.run.mkdir(parents=True)
    where.frozen_mark.write_text("vm")
    guest = Guest()
    guest.state = "paused"
    assert sweep(cast(Hypervisor, guest), tmp_path, tmp_path, set(), set()).failed
    guest.state = "running"
    assert sweep(cast(Hypervisor, guest), tmp_path, tmp_path, set(), set()).failed == []
    assert guest.thawed.is_set()


def test_a_guest_that_is_off_is_not_frozen(tmp_path: Path) -> None:
    where = places(tmp_path, tmp_path, "a1")
    where.run.mkdir(parents=True)
    where.frozen_mark.write_text("vm")
    guest = Guest()
    guest.state = "shut off"
    assert sweep(cast(Hypervisor, guest), tmp_path, tmp_path, set(), set()).failed == []
    assert not where.run.exists()
