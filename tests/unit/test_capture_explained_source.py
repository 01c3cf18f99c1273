"""A read error's reason: what became of the VM, where that is known, else the disk."""

from collections.abc import Sequence

import pytest

from seawall.agent.control.convert import vm_to
from seawall.agent.disk.explained_source import ExplainedSource
from seawall.agent.errors import AgentError, DiskUnreadable, FailureKind, VmMigrating, VmStarted, VmStopped
from seawall.agent.hypervisor.port import OFF, Domain
from seawall.repository.disks import Extent


class Broken:
    size_bytes = 4096

    def extents(self, offset: int, length: int) -> Sequence[Extent]:
        raise DiskUnreadable("no answer")

    def read_into(self, offset: int, buffer: memoryview) -> None:
        raise DiskUnreadable("no answer")


def nothing_known() -> None:
    pass


def stopped() -> None:
    raise VmStopped("the VM was stopped")


@pytest.mark.parametrize(("explain", "raised"), [(stopped, VmStopped), (nothing_known, DiskUnreadable)])
def test_the_vm_is_asked_about_before_the_disk_is_blamed(explain: object, raised: type[AgentError]) -> None:
    source = ExplainedSource(Broken(), explain)  # type: ignore[arg-type]
    assert source.size_bytes == 4096
    with pytest.raises(raised):
        source.extents(0, 4096)
    with pytest.raises(raised):
        source.read_into(0, memoryview(bytearray(4096)))


def test_what_passes_by_itself_is_requeued_and_not_counted() -> None:
    for kind in (VmStarted, VmStopped, VmMigrating):
        assert kind.kind is FailureKind.CONFLICT and kind("x").next_step


def test_a_saved_vm_is_shown_as_such() -> None:
    assert vm_to(Domain("1", "vm", OFF, (), saved=True)).state == "saved"
    assert vm_to(Domain("1", "vm", OFF, ())).state == "shut off"
