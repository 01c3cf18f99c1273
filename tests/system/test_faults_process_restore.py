"""Every process that takes part in a restore, killed in every phase of it: what is restored is what was there, and nothing else is left."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from deploy.lab.answers import Run, parse_run
from deploy.lab.fault_proxy.control import ActiveRule
from deploy.lab.fault_proxy.rules import Pass
from deploy.lab.guest_vm import DISKS, IMAGES, convert_to_raw
from deploy.lab.victims import CONTROLLER, LIBVIRTD, S3, SUPERVISOR, WORKER, Victim
from deploy.lab.waiting import wait_for

from support.fault_fleet import REPOSITORY, FaultFleet, same_bytes

pytest_plugins = ["support.fault_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

COPY = "copy"
HOLD_SECONDS = 90


@dataclass(frozen=True)
class Truth:
    """A point with the bytes of its disks."""

    point_id: str
    disks: dict[str, Path]


@dataclass(frozen=True)
class Phase:
    """A restore waits for its GET of an object of that class, after `skip` others of it."""

    name: str
    objects: str
    skip: int

    @contextmanager
    def held(self, faults: FaultFleet, point_id: str) -> Iterator[tuple[Run, ActiveRule]]:
        with faults.hold("GET", self.objects, skip=self.skip) as rule:
            run = begin(faults, point_id)
            rule.await_held(1, HOLD_SECONDS)
            yield run, rule


POINT = Phase("reading the point", "m", 0)
FILLING = Phase("filling the disks", "p", 3)
PHASES = (POINT, FILLING)
AGAIN = {WORKER: "WORKER_EXITED", SUPERVISOR: "AGENT_RESTARTED"}


def cases() -> Iterator[object]:
    for victim in (WORKER, SUPERVISOR, CONTROLLER, LIBVIRTD, S3):
        for phase in PHASES:
            yield pytest.param(victim, phase, id=f"{victim.name}, {phase.name}")


def begin(faults: FaultFleet, point_id: str, *words: str) -> Run:
    asked = faults.lab.seawall_json("restore", point_id, "--to", "beta", "--as", COPY, "--new-identity", *words)
    return parse_run(asked)


@pytest.fixture(scope="module")
def truth(fault_fleet: FaultFleet, tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """The guest holds still for this point, so that every attempt at it has the same bytes."""
    fault_fleet.begin()
    guest, folder = fault_fleet.guest, tmp_path_factory.mktemp("truth")
    guest.command("hold")
    disks = {disk: folder / f"{disk}.raw" for disk in DISKS}
    for disk, kind in DISKS.items():
        convert_to_raw(guest.disk_path(disk), kind, disks[disk])
    run = fault_fleet.await_end(fault_fleet.back_up().run_id)
    guest.command("go")
    assert run.succeeded, run.failure
    return Truth(run.point_id, disks)


@pytest.fixture
def copied(faults: FaultFleet) -> Iterator[FaultFleet]:
    """Afterwards the copy is gone from beta."""
    yield faults
    remove_copy(faults)


@pytest.mark.parametrize(("victim", "phase"), list(cases()))
def test_killed_and_brought_back(copied: FaultFleet, truth: Truth, victim: Victim, phase: Phase) -> None:
    scene = copied.scene("beta")
    with phase.held(copied, truth.point_id) as (run, rule):
        victim.kill(scene)
        copied.guest.await_writes(3)
        rule.release()
        victim.revive(scene)
        ended = copied.await_end(run.run_id)
    assert ended.succeeded, ended.failure
    reasons = copied.reasons(run.run_id)
    if victim is LIBVIRTD:
        assert reasons[-1] == "" and len(reasons) <= 3, "asked while it is away, it does not answer"
    else:
        assert reasons == ([AGAIN[victim], ""] if victim in AGAIN else [""])
    assert_restored(copied, truth)


@pytest.mark.parametrize("victim", [WORKER, SUPERVISOR], ids=lambda victim: victim.name)
def test_killed_when_all_is_restored_but_nobody_knows(
    copied: FaultFleet, truth: Truth, reads: int, victim: Victim
) -> None:
    """The controller is away when the VM is defined. What is complete is not done twice, and not in its own way."""
    scene, beta = copied.scene("beta"), copied.lab.hypervisors["beta"]
    with Phase("the last read", "p", reads - 1).held(copied, truth.point_id) as (run, rule):
        CONTROLLER.kill(scene)
        try:
            rule.release()
            wait_for("the copy to be defined", lambda: COPY in beta.domains(), HOLD_SECONDS, copied.lab.logs)
            made = vm_id_of(copied)
            victim.kill(scene)
        finally:
            CONTROLLER.revive(scene)
        victim.revive(scene)
        ended = copied.await_end(run.run_id)
    assert ended.succeeded, ended.failure
    assert vm_id_of(copied) == made
    assert copied.reasons(run.run_id) in ([AGAIN[victim], ""], ["AGENT_RESTARTED", ""])
    assert [warning["reason"] for warning in copied.run(run.run_id)["warnings"]] == ["FINISHED_EARLIER"]
    assert_restored(copied, truth)


def test_qemu_is_killed_whenever_the_restored_vm_starts(copied: FaultFleet, truth: Truth) -> None:
    """What is restored stays, the operator is told what to do, and with whatever killed it gone that works."""
    beta = copied.lab.hypervisors["beta"]
    killer = beta.host.serve("killer", ["sh", "-c", f"while :; do pkill -9 -f '[g]uest={COPY},'; sleep 0.02; done"])
    try:
        ended = copied.await_end(begin(copied, truth.point_id, "--start").run_id)
    finally:
        killer.kill()
    assert ended.succeeded, ended.failure
    assert copied.reasons(ended.run_id) == [""], "it is not restored again for that"
    told = {warning["reason"]: warning["message"] for warning in copied.run(ended.run_id)["warnings"]}
    assert "`virsh start`" in told["NOT_STARTED"]
    assert_restored(copied, truth)
    beta.virsh("start", COPY)
    assert beta.virsh("domstate", COPY) == "running"
    beta.virsh("destroy", COPY)


@pytest.fixture(scope="module")
def reads(fault_fleet: FaultFleet, truth: Truth) -> int:
    """How many ranges of packs a restore of the point reads."""
    with fault_fleet.proxy.rule(Pass(), method="GET", path=rf"/{REPOSITORY}/v1/p/") as rule:
        ended = fault_fleet.await_end(begin(fault_fleet, truth.point_id).run_id)
        assert ended.succeeded, ended.failure
        count = rule.taken()
    remove_copy(fault_fleet)
    return count


def remove_copy(faults: FaultFleet) -> None:
    beta = faults.lab.hypervisors["beta"]
    if COPY in beta.domains():
        beta.virsh("undefine", COPY)
    for path in beta.host.outside(IMAGES).glob(f"{COPY}-*"):
        path.unlink()


def vm_id_of(faults: FaultFleet) -> str:
    return faults.lab.hypervisors["beta"].virsh("domuuid", COPY)


def assert_restored(faults: FaultFleet, truth: Truth) -> None:
    """The copy is defined on disks of the very bytes, nothing else is there, the guest on the other host noticed nothing."""
    beta = faults.lab.hypervisors["beta"]
    assert beta.domains() == [COPY]
    images = beta.host.outside(IMAGES)
    names = [f"{COPY}-{disk}.{kind}" for disk, kind in DISKS.items()]
    assert sorted(path.name for path in images.iterdir()) == names
    for disk, kind in DISKS.items():
        assert same_bytes(truth.disks[disk], images / f"{COPY}-{disk}.{kind}", kind)
    faults.await_clean()
    faults.assert_guest_never_stood()
