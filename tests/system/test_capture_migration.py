"""A VM that is migrated between two libvirts: refused on its way, left alone where it was, backed up where it arrived."""

import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.port import CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.errors import AgentError, FailureKind, VmMigrating
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.repository.clock import SystemClock
from support.captured_vm import REPOSITORY, Vm, capture, committed, content
from support.libvirt_host import LibvirtHost, await_true

pytestmark = [pytest.mark.system, pytest.mark.slow]
pytest_plugins = ["support.libvirt_fixtures", "support.captured_vm_fixtures"]


@pytest.fixture
def elsewhere() -> Iterator[LibvirtHost]:
    with LibvirtHost.temporary() as host:
        yield host


def refusal(vm: Vm, hypervisor: LibvirtHypervisor, settings: CaptureSettings, attempt: str) -> str:
    """The reason; "" when there was none."""
    try:
        with open_capture(
            CaptureRequest(vm.vm_id, attempt, "a", REPOSITORY, "never", None, ()), hypervisor, settings, SystemClock()
        ):
            return ""
    except AgentError as error:
        assert error.kind is FailureKind.CONFLICT, "requeued, and not counted"
        return error.reason


def test_a_migration_is_waited_for_and_the_backup_goes_on_there(
    vm: Vm, settings: CaptureSettings, elsewhere: LibvirtHost
) -> None:
    vm.io("vda", "write -P 1 0 8M")
    first, _ = committed(vm, settings, "a1")
    vm.io("vda", "write -P 2 1M 64k")
    vm.host.virsh("migrate-setspeed", vm.name, "1")
    there = LibvirtHypervisor(elsewhere.uri)
    way = [vm.name, elsewhere.uri, "--migrateuri", f"unix://{vm.host.folder}/migration.sock"]
    migrate = ["virsh", "-c", vm.host.uri, "migrate", "--live", "--persistent", "--unsafe", *way]
    with subprocess.Popen(migrate, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as moving:
        pid = elsewhere.folder / f"run/libvirt/qemu/{vm.name}.pid"
        await_true(
            lambda: (pid.exists() and vm.hypervisor.is_migrating(vm.vm_id)) or moving.poll() is not None,
            "it is on its way",
        )
        assert moving.poll() is None, moving.communicate()
        elsewhere.signal_qemu(vm.name, signal.SIGSTOP)  # it does not arrive before it was looked at
        assert refusal(vm, vm.hypervisor, settings, "a2") == "VM_MIGRATING"
        elsewhere.signal_qemu(vm.name, signal.SIGCONT)
        _, said = moving.communicate(timeout=120)
    assert moving.returncode == 0, said
    assert vm.hypervisor.domain(vm.vm_id).state == "shut off"
    with pytest.raises(VmMigrating):
        capture(vm, settings, "a3", first)
    truth = vm.at(elsewhere, there).truth()
    request = CaptureRequest(vm.vm_id, "a4", "agent-2", REPOSITORY, "never", first, ())
    with open_capture(request, there, replace(settings, hypervisor=elsewhere.uri), SystemClock()) as taken:
        assert [one.how for one in taken.disks] == ["bitmap", "compare"]
        assert {one.target: content(one) for one in taken.disks} == truth
        taken.check()
    there.stop(vm.vm_id)
    there.undefine(vm.vm_id)
    there.close()
