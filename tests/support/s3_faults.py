"""Fixtures of the tests in tests/system/test_faults_s3*.py; they stand on those of support.laboratory."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.lab.fault_proxy.control import FaultProxy
from deploy.lab.guest_image import GuestImage
from deploy.lab.guest_vm import GuestVm
from deploy.lab.laboratory import Laboratory

from support.faulty_backups import FaultyBackups
from support.replayed_truth import ReplayedTruth


@pytest.fixture(scope="session")
def proxy(fleet: Laboratory) -> FaultProxy:
    return fleet.start_fault_proxy()


@pytest.fixture(scope="module")
def lasting_guest(fleet: Laboratory, guest_image: GuestImage) -> Iterator[GuestVm]:
    """One for all tests of a module: a fault of the store is nothing that a guest may notice."""
    made = GuestVm("lasting", fleet.hypervisors["alpha"])
    made.create(guest_image)
    try:
        assert made.await_verdict(120).ok
        fleet.await_vm(made.name, "alpha")
        yield made
    finally:
        made.remove_if_present()


@pytest.fixture(scope="module")
def truth(guest_image: GuestImage, lasting_guest: GuestVm, tmp_path_factory: pytest.TempPathFactory) -> ReplayedTruth:
    """Of the guest of this module."""
    return ReplayedTruth(guest_image, tmp_path_factory.mktemp("guest") / "truth")


@pytest.fixture
def backups(
    fleet: Laboratory,
    lasting_guest: GuestVm,
    truth: ReplayedTruth,
    proxy: FaultProxy,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> Iterator[FaultyBackups]:
    """With an empty repository of the test's own behind the proxy, and no rules."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-45:].strip("-")
    fleet.add_repository(name, endpoint=proxy.endpoint)
    lasting_guest.await_writes(2, 120)
    yield FaultyBackups(fleet, lasting_guest, truth, proxy, name, tmp_path)
    proxy.clear()
