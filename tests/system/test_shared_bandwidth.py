"""One bandwidth budget and two hosts that back up at once: measured by what reaches the store, told apart by a repository for each."""

import os
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from deploy.lab.fault_proxy.control import FaultProxy
from deploy.lab.laboratory import Laboratory

from seawall.repository.format.pack import PACK_TARGET_BYTES
from support.odd_vms import IMAGES, OddDisk, OddVm
from support.sent_bytes import LOOK_SECONDS, between, committed_at, follow, most_within, packs_of, rate_of

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]

MIB = 1 << 20
BUDGET = 12 * MIB
"""Bytes per second of both together."""
SIZES = {"alpha": 256 * MIB, "beta": 640 * MIB}
"""What is on the VMs' disks: beta goes on alone for about half a minute."""
HEARTBEAT_SECONDS = 1
SETTLED_SECONDS = 15.0
"""Until whoever goes on has the share of who is done: the leader looks each 10 s, and what was sent by the old share is waited off."""
WINDOW_SECONDS = 15.0
BURST_SECONDS = 1.0 + 2 * LOOK_SECONDS
"""What an idle host may send at once, by its budget's seconds, and how late one looks."""
END_SECONDS = 400.0


@pytest.fixture
def lab() -> Iterator[Laboratory]:
    """Its own: demands and shares are told each second, and the store stands behind a proxy that counts."""
    with Laboratory(f"bandwidth-{os.getpid()}", timings={"heartbeat_seconds": HEARTBEAT_SECONDS}) as made:
        for hypervisor in made.hypervisors.values():
            hypervisor.start()
        yield made
    assert made.leftovers() == []


@contextmanager
def filled_vm(lab: Laboratory, host: str) -> Iterator[OddVm]:
    """A VM that stands still, with a disk of which nothing can be left out: neither zeroes, nor anything that compresses or repeats."""
    path = f"{IMAGES}/{uuid.uuid4()}.raw"
    image = lab.hosts[host].outside(path)
    numbers = random.Random(host)
    with image.open("wb") as file:
        for _ in range(SIZES[host] // (16 * MIB)):
            file.write(numbers.randbytes(16 * MIB))
    vm = OddVm(lab, f"filled-{host}", [OddDisk("vda", path, "raw")])
    vm.hypervisor, vm.host = lab.hypervisors[host], lab.hosts[host]
    vm.define()
    try:
        vm.start()
        lab.await_vm(vm.name, host)
        yield vm
    finally:
        vm.remove()
        image.unlink()


def counted(lab: Laboratory) -> FaultProxy:
    """Everything is served; each host's VM has a repository of its name, behind the proxy."""
    proxy = lab.start_fault_proxy()
    lab.start_services()
    for host in SIZES:
        lab.add_repository(host, endpoint=proxy.endpoint)
    return proxy


def test_two_hosts_share_one_budget_and_who_goes_on_gets_all_of_it(lab: Laboratory) -> None:
    proxy = counted(lab)
    lab.seawall("limit", "set", "global", "--bandwidth", f"{BUDGET // MIB}MiB/s")
    with filled_vm(lab, "alpha") as one, filled_vm(lab, "beta") as other:
        runs = [lab.start_backup(vm.vm_id, "--freeze", "never", repository=vm.host.name) for vm in (one, other)]
        sent = follow(proxy, SIZES, END_SECONDS)
        ended = [lab.await_end(run.run_id, 60) for run in runs]
    assert all(run.succeeded for run in ended), ended

    packs = {host: packs_of(sent, host) for host in SIZES}
    begun, over = max(packs[host][0].at for host in SIZES), packs["alpha"][-1].at
    together = {host: between(packs[host], begun, over) / (over - begun) for host in SIZES}
    done = committed_at(sent, "alpha")
    alone = rate_of([each for each in packs["beta"] if each.at > done + SETTLED_SECONDS])
    most = most_within(sent, WINDOW_SECONDS)
    told = f"together {together}, alone {alone:.0f}, at most {most} in {WINDOW_SECONDS:.0f} s of {BUDGET} a second"
    print(told)

    # A pack is sent as a whole, and waited off afterwards: one of each host may be ahead.
    ahead = len(SIZES) * PACK_TARGET_BYTES
    assert most <= BUDGET * (WINDOW_SECONDS + BURST_SECONDS) + ahead, told
    assert sum(together.values()) <= BUDGET + ahead / (over - begun), told
    assert sum(together.values()) >= 0.75 * BUDGET, told
    assert all(0.35 * BUDGET <= rate <= 0.65 * BUDGET for rate in together.values()), told
    assert 0.8 * BUDGET <= alone <= 1.15 * BUDGET, told
