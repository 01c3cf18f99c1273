"""Workers of a group meet: all or none, nobody waits for the dead."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from seawall.agent.capture.together import (
    BEGUN,
    FROZEN,
    GATHER_SECONDS,
    GroupIncomplete,
    Rendezvous,
    group_folder,
    sweep_groups,
)
from seawall.repository.clock import SystemClock

VMS = ("vm-1", "vm-2", "vm-3")


class HastyClock:
    """A real one, whose sleeps count a thousandfold."""

    def __init__(self) -> None:
        self._inner, self.slept = SystemClock(), 0.0

    def now_us(self) -> int:
        return self._inner.now_us()

    def monotonic_seconds(self) -> float:
        return self._inner.monotonic_seconds() + self.slept

    def sleep_seconds(self, seconds: float) -> None:
        self.slept += 1000 * seconds
        self._inner.sleep_seconds(seconds / 20)


def part(folder: Path, vm_id: str, attempt: str = "a1", *, hasty: bool = False) -> Rendezvous:
    return Rendezvous(folder, "g", VMS, vm_id, f"{attempt}-{vm_id}", HastyClock() if hasty else SystemClock())


class Steps:
    """What several workers did, in order."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.errors: list[GroupIncomplete] = []

    def work(self, mine: Rendezvous, vm_id: str, begin: Callable[[], None] = lambda: None) -> None:
        try:
            mine.gather()
            self.done.append(("freeze", vm_id))
            mine.meet(FROZEN)
            begin()
            self.done.append(("begin", vm_id))
            mine.meet(BEGUN)
            self.done.append(("thaw", vm_id))
        except GroupIncomplete as error:
            self.errors.append(error)


def together(*works: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_no_job_begins_before_all_are_frozen_and_none_is_thawed_before_all_have_begun(tmp_path: Path) -> None:
    steps, parts = Steps(), {vm_id: part(tmp_path, vm_id) for vm_id in VMS}
    together(*(lambda vm_id=vm_id, mine=mine: steps.work(mine, vm_id) for vm_id, mine in parts.items()))
    assert steps.errors == []
    assert [step for step, _ in steps.done] == ["freeze"] * 3 + ["begin"] * 3 + ["thaw"] * 3
    for mine in parts.values():
        mine.close()
    assert not (tmp_path / "together").exists()


def test_a_group_that_lacks_a_worker_begins_nothing(tmp_path: Path) -> None:
    steps = Steps()
    parts = {vm_id: part(tmp_path, vm_id, hasty=True) for vm_id in VMS[:2]}
    together(*(lambda vm_id=vm_id, mine=mine: steps.work(mine, vm_id) for vm_id, mine in parts.items()))
    assert steps.done == [] and len(steps.errors) == 2
    assert "vm-3" in str(steps.errors[0])


def test_what_an_older_attempt_left_is_no_presence(tmp_path: Path) -> None:
    """Its worker was killed: its files lie there, and nobody holds them."""
    folder = group_folder(tmp_path, "g")
    folder.mkdir(parents=True)
    (folder / "vm-3").write_text("a0-vm-3")
    for stage in (FROZEN, BEGUN):
        (folder / f"vm-3.a0-vm-3.{stage}").touch()
    steps = Steps()
    together(lambda: steps.work(part(tmp_path, "vm-1", hasty=True), "vm-1"))
    assert steps.done == [] and len(steps.errors) == 1


def test_one_that_fails_lets_the_others_go_at_once(tmp_path: Path) -> None:
    steps, parts = Steps(), {vm_id: part(tmp_path, vm_id) for vm_id in VMS}

    def fails() -> None:
        parts["vm-1"].fail()
        raise GroupIncomplete("its disk is gone")

    works = [lambda vm_id=vm_id: steps.work(parts[vm_id], vm_id) for vm_id in VMS[1:]]
    together(lambda: steps.work(parts["vm-1"], "vm-1", fails), *works)
    assert len(steps.errors) == 3 and not [step for step, _ in steps.done if step == "thaw"]


def test_one_that_failed_before_it_came_is_not_waited_for_long(tmp_path: Path) -> None:
    part(tmp_path, "vm-3", "a0").fail()
    clock, steps = HastyClock(), Steps()
    mine = Rendezvous(tmp_path, "g", VMS[1:], "vm-2", "a1", clock)
    together(lambda: steps.work(mine, "vm-2"))
    assert len(steps.errors) == 1 and clock.slept < GATHER_SECONDS / 2
    mine.close()
    assert not (tmp_path / "together").exists()


def test_one_that_comes_back_is_not_part_of_the_instant_that_is_over(tmp_path: Path) -> None:
    """It failed after all had begun, and the others still read: its next attempt's instant would be another than theirs."""
    steps, parts = Steps(), {vm_id: part(tmp_path, vm_id) for vm_id in VMS}
    together(*(lambda vm_id=vm_id, mine=mine: steps.work(mine, vm_id) for vm_id, mine in parts.items()))
    assert steps.errors == []
    parts["vm-3"].close()
    with pytest.raises(GroupIncomplete, match="vm-1, vm-2"):
        part(tmp_path, "vm-3", "a2", hasty=True).gather()


def test_a_sweep_removes_what_no_living_worker_holds(tmp_path: Path) -> None:
    parts = [part(tmp_path, vm_id) for vm_id in VMS]
    together(*(mine.gather for mine in parts))
    sweep_groups(tmp_path)
    assert group_folder(tmp_path, "g").is_dir()
    with pytest.raises(GroupIncomplete):
        part(tmp_path / "elsewhere", "vm-1", hasty=True).gather()
    for mine in parts:
        mine.close()
    group_folder(tmp_path, "h").mkdir(parents=True)
    (group_folder(tmp_path, "h") / "vm-9").write_text("a0")
    sweep_groups(tmp_path)
    assert not (tmp_path / "together").exists()
