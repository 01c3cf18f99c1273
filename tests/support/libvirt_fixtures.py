"""A private libvirt for the tests of one module, and our adapter on it.

A test module asks for them by `pytest_plugins = ["support.libvirt_fixtures"]`; one that cleans up after each test has a `hypervisor` of
its own.
"""

from collections.abc import Iterator

import pytest

from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from support.libvirt_host import LibvirtHost


@pytest.fixture(scope="module")
def host() -> Iterator[LibvirtHost]:
    with LibvirtHost.temporary() as host:
        yield host


@pytest.fixture(scope="module")
def hypervisor(host: LibvirtHost) -> Iterator[LibvirtHypervisor]:
    hypervisor = LibvirtHypervisor(host.uri)
    yield hypervisor
    hypervisor.close()
