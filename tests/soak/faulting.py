"""Carries out the faults of a step, each in a thread of its own: waits for its moment, does it, and undoes it whatever happens."""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from deploy.lab import victims
from deploy.lab.fault_proxy.rules import CutAnswer, CutRequest, Delay
from deploy.lab.guest_vm import GuestVm
from deploy.lab.namespaces import NamespaceHost

from .plan_words import Fault, How, Victim
from .soak_vm import SoakVm
from .stage import Stage

SLOW_RUNS_SECONDS, SLOW_STANDS_SECONDS = 0.02, 0.18
"""A process that is slowed has a tenth of its time."""

WORKER_COMES_SECONDS = 15.0
S3_DELAY_SECONDS = 0.8


@dataclass(frozen=True)
class Scene:
    """Where faults happen: `host` works on the operation, `vm` is the one that it is about, `vms` are all of the round."""

    stage: Stage
    host: str
    vm: SoakVm
    vms: tuple[SoakVm, ...]

    @property
    def on_host(self) -> NamespaceHost:
        return self.stage.lab.hosts[self.host]


class Faults:
    """As a context: from its beginning the moments count; at its end all is undone. `done` says what happened, `trouble` what could not."""

    def __init__(self, scene: Scene, faults: tuple[Fault, ...]) -> None:
        self._scene = scene
        self._threads = [threading.Thread(target=self._happen, args=(fault,), name=str(fault)) for fault in faults]
        self.done: list[str] = []
        self.trouble: list[str] = []

    def __enter__(self) -> "Faults":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()

    def _happen(self, fault: Fault) -> None:
        time.sleep(fault.at_seconds)
        began = time.monotonic()
        try:
            with inflicted(self._scene, fault) as happened:
                if happened:
                    time.sleep(fault.for_seconds)
            word = f"{time.monotonic() - began:.1f} s" if happened else "nobody was there"
            self.done.append(f"{fault.victim} {fault.how}: {word}")
        except Exception as error:  # at the top of a thread: the round says it
            self.trouble.append(f"{fault} could not be carried out: {type(error).__name__}: {error}")


@contextmanager
def inflicted(scene: Scene, fault: Fault) -> Iterator[bool]:
    """The fault, undone at the end. False: there was nobody whom it could happen to."""
    with ExitStack() as marks:
        if fault.victim is Victim.QEMU:
            marks.enter_context(scene.vm.away())
        if fault.victim is Victim.LIBVIRTD and fault.how is not How.KILLED:
            for vm in scene.vms:
                marks.enter_context(vm.unreachable())
        if fault.victim is Victim.S3 and fault.how is How.SLOWED:
            yield marks.enter_context(scene.stage.proxy.rule(Delay(S3_DELAY_SECONDS))) is not None
            return
        if fault.how is How.CUT:
            yield marks.enter_context(_cut(scene, fault.victim))
            return
        if fault.how is How.KILLED:
            yield marks.enter_context(_killed(scene, fault.victim))
            return
        host, pids = _processes(scene, fault.victim)
        if pids:
            make = _stopped if fault.how is How.STOPPED else _slowed
            marks.enter_context(make(host, pids))
        yield bool(pids)


def _victim(victim: Victim) -> victims.Victim:
    return {
        Victim.LIBVIRTD: victims.LIBVIRTD,
        Victim.WORKER: victims.WORKER,
        Victim.SUPERVISOR: victims.SUPERVISOR,
        Victim.CONTROLLER: victims.CONTROLLER,
        Victim.S3: victims.S3,
    }[victim]


def _processes(scene: Scene, victim: Victim) -> tuple[NamespaceHost, list[str]]:
    """Inside their host. A worker is waited for, as its attempt may just begin."""
    if victim is Victim.QEMU:
        pid = scene.vm.qemu_pid()
        return scene.on_host, [pid] if pid else []
    chosen = _victim(victim)
    host = scene.stage.lab.hosts["hub"] if chosen.on_hub else scene.on_host
    deadline = time.monotonic() + (WORKER_COMES_SECONDS if victim is Victim.WORKER else 0)
    while True:
        pids = host.run(["pgrep", "-f", chosen.pattern], check=False).stdout.split()
        if pids or time.monotonic() > deadline:
            return host, pids
        time.sleep(0.1)


@contextmanager
def _killed(scene: Scene, victim: Victim) -> Iterator[bool]:
    host, pids = _processes(scene, victim)
    if not pids:
        yield False
        return
    if victim in (Victim.QEMU, Victim.WORKER):
        host.run(["kill", "-9", *pids], check=False)
        yield True
        if victim is Victim.QEMU:
            scene.vm.revive()
        return
    chosen = _victim(victim)
    where = victims.Scene(scene.stage.lab, scene.host, GuestVm(scene.vm.name, scene.stage.lab.hypervisors[scene.host]))
    chosen.kill(where)
    try:
        yield True
    finally:
        chosen.revive(where)


@contextmanager
def _stopped(host: NamespaceHost, pids: list[str]) -> Iterator[None]:
    host.run(["kill", "-STOP", *pids], check=False)
    try:
        yield
    finally:
        host.run(["kill", "-CONT", *pids], check=False)
        host.wake()


@contextmanager
def _slowed(host: NamespaceHost, pids: list[str]) -> Iterator[None]:
    """Stopped nine tenths of the time, by a loop inside the host that ends with this."""
    named = " ".join(pids)
    turn = f"kill -STOP {named}; sleep {SLOW_STANDS_SECONDS}; kill -CONT {named}; sleep {SLOW_RUNS_SECONDS}"
    service = host.serve("slowing", ["sh", "-c", f"while :; do {turn}; done 2>/dev/null"])
    try:
        yield
    finally:
        service.kill()
        host.run(["kill", "-CONT", *pids], check=False)
        host.wake()


def _cut(scene: Scene, victim: Victim) -> AbstractContextManager[bool]:
    if victim is Victim.S3:
        return _s3_cut(scene)
    hosts = [scene.host] if victim is Victim.SUPERVISOR else list(scene.stage.lab.hypervisors)
    return _cables_pulled(scene, hosts)


@contextmanager
def _s3_cut(scene: Scene) -> Iterator[bool]:
    """Requests end in the middle, others are done and their answers end in the middle."""
    proxy = scene.stage.proxy
    with proxy.rule(CutAnswer(), times=3), proxy.rule(CutRequest(1000)):
        yield True


@contextmanager
def _cables_pulled(scene: Scene, hosts: list[str]) -> Iterator[bool]:
    hub = scene.stage.lab.hub
    for host in hosts:
        hub.run(["ip", "link", "set", f"to-{host}", "down"])
    try:
        yield True
    finally:
        for host in hosts:
            hub.run(["ip", "link", "set", f"to-{host}", "up"])
