"""A VM of each test's own and the settings of its captures.

A test module asks for them by `pytest_plugins = ["support.libvirt_fixtures", "support.captured_vm_fixtures"]`.
"""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.errors import VmNotFound
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from support.captured_vm import Vm
from support.libvirt_host import LibvirtHost


@pytest.fixture
def settings(host: LibvirtHost) -> CaptureSettings:
    return CaptureSettings(
        run_dir=host.folder / "sw", scratch_dir=host.folder / "scratch", hypervisor=host.uri, watch_seconds=0.05
    )


@pytest.fixture
def vm(host: LibvirtHost, hypervisor: LibvirtHypervisor, request: pytest.FixtureRequest) -> Iterator[Vm]:
    vm = Vm(host, hypervisor, request.node.name.removeprefix("test_"))
    yield vm
    with suppress(VmNotFound):  # it moved away
        hypervisor.stop(vm.vm_id)
        hypervisor.undefine(vm.vm_id)
