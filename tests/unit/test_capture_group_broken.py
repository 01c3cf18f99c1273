"""A VM of a group whose bitmaps were lost: the group's next attempt must not meet the same ones again."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from seawall.agent.capture.guard.process import GuardProcess
from seawall.agent.capture.leftovers import make_places
from seawall.agent.capture.libvirt_capture import LibvirtCapture
from seawall.agent.capture.limits import Limits
from seawall.agent.capture.names import places
from seawall.agent.capture.plan import CapturePlan, DiskPlan
from seawall.agent.capture.port import CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.capture.together import GroupIncomplete
from seawall.agent.errors import CheckpointBroken
from seawall.agent.hypervisor.port import BackupDisk, DomainDisk, Hypervisor
from seawall.repository.clock import SystemClock
from support.agent_memory_hypervisor import MemoryHypervisor, vm

VM_ID, BASE = "0b1c6f0e-3d0a-4b8e-9f5a-27d2a1e0c7aa", "seawall-23456789-a1"


class Killed(MemoryHypervisor):
    """Its QEMU was: of all disks that are to be read by a bitmap libvirt names the first."""

    def begin_backup(
        self,
        vm_id: str,
        disks: Sequence[BackupDisk],
        socket: Path,
        checkpoint: str | None,
        targets: Sequence[str] | None = None,
    ) -> None:
        raise CheckpointBroken(
            "missing or broken bitmap", disk=next(one.target for one in disks if one.incremental_from)
        )


class Unguarded:
    """A guard of a capture that begins no job."""

    def await_ready(self) -> None: ...

    def begin(self, limits: Limits) -> None: ...


def disk(target: str) -> DiskPlan:
    found = DomainDisk(target, "disk", "file", f"/i/{target}", "qcow2", 0, False, False, False)
    return DiskPlan(found, "bitmap", "why", True)


def test_a_groups_vm_with_a_broken_bitmap_of_one_disk_starts_its_next_attempt_without_any(tmp_path: Path) -> None:
    """libvirt names one disk at a time, and each attempt of a group ends at the first."""
    host = Killed()
    host.add(vm(VM_ID, "ours"))
    host.marks[VM_ID] = [BASE]
    settings = CaptureSettings(tmp_path / "run", tmp_path / "scratch")
    request = CaptureRequest(VM_ID, "a2", "agent", "abcdef0123456789", "never", None, (), group_id="g", group=(VM_ID,))
    where = places(settings.run_dir, settings.scratch_dir, request.attempt_id)
    make_places(where, None)
    capture = LibvirtCapture(request, cast(Hypervisor, host), settings, SystemClock(), where)
    capture._guard = cast(GuardProcess, Unguarded())
    with pytest.raises(GroupIncomplete):
        capture.begin(CapturePlan((disk("vda"), disk("vdb")), BASE, ()))
    capture._guard = None
    capture.close()
    assert host.marks[VM_ID] == []
