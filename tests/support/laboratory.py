"""Fixtures of system tests: one laboratory for the whole test session, one running guest. Needs root and `make setup`.

A test module asks for them by `pytest_plugins = ["support.laboratory"]`.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.lab.guest_image import GuestImage, run_tool
from deploy.lab.guest_vm import GuestVm
from deploy.lab.laboratory import Laboratory

from support.disk_pair import DiskPair


@pytest.fixture(scope="session")
def laboratory() -> Iterator[Laboratory]:
    """Hosts and libvirt, no service of ours. At the end: nothing of it may be left on the machine."""
    with Laboratory(f"test-{os.getpid()}") as made:
        for hypervisor in made.hypervisors.values():
            hypervisor.start()
        yield made
    assert made.leftovers() == []


@pytest.fixture(scope="session")
def fleet(laboratory: Laboratory) -> Laboratory:
    """The laboratory with everything served: S3, controller, two agents, the repository `main`."""
    laboratory.start_services()
    return laboratory


@pytest.fixture(scope="session")
def guest_image(laboratory: Laboratory) -> GuestImage:
    return laboratory.guest_image()


@pytest.fixture
def guest(laboratory: Laboratory, guest_image: GuestImage) -> Iterator[GuestVm]:
    """A fresh guest on alpha, past its verdict. Whatever a test leaves of it is erased, on both hosts."""
    made = GuestVm("guest", laboratory.hypervisors["alpha"])
    made.create(guest_image)
    try:
        assert made.await_verdict().ok
        yield made
    finally:
        for hypervisor in laboratory.hypervisors.values():
            remaining = GuestVm(made.name, hypervisor)
            remaining.remove_if_present()


@pytest.fixture(scope="session")
def grown_disks(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> DiskPair:
    """Not to be changed by a test."""
    folder = tmp_path_factory.mktemp("disks")
    pair = DiskPair(_named(folder / "before"), _named(folder / "now"))
    guest_image.to_raw(pair.before)
    assert "VERDICT ok" in guest_image.tool_says("advance", pair.before)
    _copy(pair.before, pair.now)
    assert "VERDICT ok" in guest_image.tool_says("advance", pair.now)
    return pair


@pytest.fixture
def disks(grown_disks: DiskPair, tmp_path: Path) -> DiskPair:
    """The same; `now` is this test's own."""
    mine = _named(tmp_path)
    _copy(grown_disks.now, mine)
    return DiskPair(grown_disks.before, mine)


def _named(folder: Path) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    return {"vda": folder / "vda.raw", "vdb": folder / "vdb.raw"}


def _copy(source: dict[str, Path], target: dict[str, Path]) -> None:
    for disk in source:
        run_tool("cp", "--sparse=always", str(source[disk]), str(target[disk]))
