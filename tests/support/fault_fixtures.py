"""Fixtures of the fault tests: a laboratory of their own whose S3 server stands behind the fault proxy, with short leases, and one guest.

A test module asks for them by `pytest_plugins = ["support.fault_fixtures"]`.
"""

import os
from collections.abc import Iterator

import pytest
from deploy.lab.laboratory import Laboratory
from deploy.lab.victims import BOOT_SECONDS

from support.fault_fleet import REPOSITORY, TIMINGS, FaultFleet
from support.replayed_truth import ReplayedTruth


@pytest.fixture(scope="session")
def fault_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultFleet]:
    with Laboratory(f"faults-{os.getpid()}", timings=TIMINGS) as lab:
        for hypervisor in lab.hypervisors.values():
            hypervisor.start()
        proxy = lab.start_fault_proxy()
        image = lab.guest_image()
        fleet = FaultFleet(lab, proxy, ReplayedTruth(image, tmp_path_factory.mktemp("guest") / "truth"))
        fleet.guest.create(image)
        lab.start_services()
        lab.add_repository(REPOSITORY, endpoint=proxy.endpoint)
        assert fleet.guest.await_verdict(BOOT_SECONDS).ok
        yield fleet
    assert lab.leftovers() == []


@pytest.fixture
def faults(fault_fleet: FaultFleet) -> Iterator[FaultFleet]:
    """The fleet at peace; afterwards no rule is left."""
    fault_fleet.begin()
    yield fault_fleet
    fault_fleet.proxy.clear()


@pytest.fixture(scope="session")
def based(fault_fleet: FaultFleet) -> FaultFleet:
    """The fleet with a first point, so that all others have a parent."""
    fault_fleet.begin()
    run = fault_fleet.await_end(fault_fleet.back_up().run_id)
    assert run.succeeded, run.failure
    return fault_fleet
