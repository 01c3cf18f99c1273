"""When a capture must end, and how a freeze ends."""

import threading
from pathlib import Path
from typing import cast

import pytest

from seawall.agent.capture.freeze import GuestFreeze
from seawall.agent.capture.names import places
from seawall.agent.capture.sweep import sweep
from seawall.agent.capture.watch import LEAST_FREE_BYTES, Limits, Sight, judge, limits_for, refuse_without_room
from seawall.agent.errors import FreezeFailed, HypervisorError, ScratchFull
from seawall.agent.hypervisor.port import Domain, Hypervisor, JobStatus
from support.libvirt_host import await_true

MIB = 1024**2
GIB = 1024**3
LIMITS = Limits(scratch_stop_bytes=80, free_floor_bytes=20, owner_silence_seconds=10)


def reason(active: bool = True, used: int = 0, free: int = 100, silence: float = 0) -> str | None:
    error = judge(Sight(JobStatus(active, used), free, silence), LIMITS)
    return error.reason if error else None


def test_verdicts() -> None:
    assert reason(used=80, free=20, silence=10) is None
    assert reason(used=81) == "SCRATCH_FULL"
    assert reason(free=19) == "SCRATCH_FULL"
    assert reason(silence=11) == "OWNER_SILENT"
    assert reason(active=False, used=81) == "VM_STOPPED"


@pytest.mark.parametrize(
    ("quota", "virtual", "free", "stop"),
    [
        (None, 100 * GIB, 500 * GIB, 16 * GIB),  # 80 % of a fifth
        (None, 500 * MIB, 500 * GIB, 400 * MIB),  # a small VM may use all of its size
        (None, 100 * GIB, 10 * GIB, 8 * GIB),  # no more than is free
        (5 * GIB, 100 * GIB, 500 * GIB, 4 * GIB),
        (5 * GIB, 100 * GIB, GIB, GIB * 80 // 100),
    ],
)
def test_limits(quota: int | None, virtual: int, free: int, stop: int) -> None:
    limits = limits_for(quota, 80, virtual, free, 10)
    assert limits.scratch_stop_bytes == stop
    assert limits.scratch_stop_bytes + limits.free_floor_bytes <= free


def test_no_job_begins_without_room_for_scratch() -> None:
    refuse_without_room(GIB, LEAST_FREE_BYTES)
    refuse_without_room(10 * MIB, 10 * MIB)  # scratch never holds more than the disks
    with pytest.raises(ScratchFull, match=str(LEAST_FREE_BYTES)) as caught:
        refuse_without_room(GIB, 10 * MIB)
    assert "scratch folder" in caught.value.next_step


class Guest:
    """A guest agent that obeys, or not: the part of a Hypervisor that a freeze uses."""

    def __init__(self, *, freezes: bool = True, thaw_failures: int = 0, hears: bool = True) -> None:
        self.freezes, self.thaw_failures, self.hears = freezes, thaw_failures, hears
        self.frozen = threading.Event()
        self.thawed = threading.Event()

    def freeze(self, vm_id: str, timeout_seconds: int) -> int:
        if not self.freezes:
            raise FreezeFailed("no answer", may_be_frozen=self.hears)
        self.frozen.set()
        return 1

    def domains(self) -> list[Domain]:
        return []

    def thaw(self, vm_id: str) -> None:
        if self.thaw_failures:
            self.thaw_failures -= 1
            raise HypervisorError("the agent's answer was lost")
        self.thawed.set()


class BlockedLog:
    """As a log whose pipe is full, until it is read."""

    def __init__(self, read: threading.Event) -> None:
        self._read = read

    def warning(self, event: str, **fields: object) -> None:
        self._read.wait(20)


def a_freeze(guest: Guest, mark: Path, policy: str = "try", limit_seconds: int = 10) -> GuestFreeze:
    return GuestFreeze(cast(Hypervisor, guest), "vm", policy, limit_seconds, mark, again_seconds=0.01)


def test_thaws_when_left(tmp_path: Path) -> None:
    guest, mark = Guest(thaw_failures=2), tmp_path / "frozen"
    with pytest.raises(RuntimeError), a_freeze(guest, mark) as freeze:
        assert guest.frozen.is_set() and mark.read_text() == "vm" and not guest.thawed.is_set()
        raise RuntimeError("begin failed")
    assert guest.thawed.is_set() and freeze.frozen and not mark.exists()


def test_mark_stays_when_the_guest_does_not_answer(tmp_path: Path) -> None:
    mark = tmp_path / "frozen"
    with a_freeze(Guest(thaw_failures=99), mark):
        pass
    assert mark.exists()  # the sweep goes on trying
    mark.unlink()


@pytest.mark.parametrize("freezes", [True, False], ids=["frozen", "freeze given up"])
def test_guest_whose_agent_is_busy_is_thawed_as_soon_as_it_answers(tmp_path: Path, freezes: bool) -> None:
    guest, mark = Guest(freezes=freezes, thaw_failures=5), tmp_path / "frozen"
    with a_freeze(guest, mark):
        pass
    assert guest.thawed.wait(5)
    await_true(lambda: not mark.exists(), "the mark is gone", 5)


def test_guest_without_an_agent_is_left_alone(tmp_path: Path) -> None:
    guest, mark = Guest(freezes=False, hears=False), tmp_path / "frozen"
    with a_freeze(guest, mark) as freeze:
        pass
    assert not guest.thawed.is_set() and not mark.exists() and freeze.warning is not None


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


def test_timer_thaws_and_the_point_is_not_called_frozen(tmp_path: Path) -> None:
    guest = Guest()
    with a_freeze(guest, tmp_path / "frozen", limit_seconds=0) as freeze:
        assert guest.thawed.wait(5)
    assert freeze.frozen is False and freeze.warning is not None
    with pytest.raises(FreezeFailed), a_freeze(guest := Guest(), tmp_path / "frozen", "require", 0):
        assert guest.thawed.wait(5)


@pytest.mark.parametrize("thaw_failures", [0, 1, 4], ids=["obeys", "second try", "late"])
def test_a_log_that_nobody_reads_does_not_keep_the_guest_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thaw_failures: int
) -> None:
    read = threading.Event()
    monkeypatch.setattr("seawall.agent.capture.freeze.logger", BlockedLog(read))
    monkeypatch.setattr("seawall.agent.capture.leftovers.logger", BlockedLog(read))
    guest, mark = Guest(thaw_failures=thaw_failures), tmp_path / "frozen"
    with a_freeze(guest, mark, limit_seconds=0):
        assert guest.thawed.wait(5)
        await_true(lambda: not mark.exists(), "the mark is gone", 5)
        read.set()


def test_policies(tmp_path: Path) -> None:
    mark = tmp_path / "frozen"
    with a_freeze(Guest(freezes=False), mark) as freeze:
        assert freeze.frozen is False
    assert freeze.warning is not None and freeze.warning[0] == "NOT_FROZEN"
    with pytest.raises(FreezeFailed):
        a_freeze(Guest(freezes=False), mark, "require").__enter__()
    with a_freeze(guest := Guest(), mark, "never") as freeze:
        assert not guest.frozen.is_set() and freeze.warning is None
    assert not guest.thawed.is_set() and not mark.exists()
