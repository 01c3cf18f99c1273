"""What the owner of a VM does to it: changes in peace before an operation, events while one goes on."""

import threading
import time

from .plan_words import Change, ChangeKind, Event, EventKind
from .soak_vm import SoakVm

GROWN_MIB = 4


def change(vm: SoakVm, wanted: Change) -> None:
    """Done when this returns. Raises LabFailed."""
    kind = wanted.kind
    if kind is ChangeKind.SNAPSHOT:
        vm.snapshot()
    elif kind is ChangeKind.LOSE_CHECKPOINTS:
        vm.lose_checkpoints()
    elif kind is ChangeKind.GROW_DISK:
        vm.grow(wanted.target, wanted.mib)
    elif kind is ChangeKind.POWER_ON:
        with vm.away():
            vm.ensure(running=True)
    elif kind is ChangeKind.POWER_OFF:
        vm.shut_down()
    elif kind is ChangeKind.ADD_DISK and wanted.disk and wanted.while_running:
        vm.add(wanted.disk, while_running=True)
    else:
        _while_off(vm, wanted)


def _while_off(vm: SoakVm, wanted: Change) -> None:
    """As running or off afterwards as before."""
    was_running = vm.state() != "shut off"
    with vm.away():
        vm.ensure(running=False)
        if wanted.disk is not None:
            vm.add(wanted.disk, while_running=False)
        else:
            vm.take_away(wanted.target)
        if was_running:
            vm.start()


class Happening:
    """An event in a thread of its own. As a context; at the end the VM is on again. `trouble` says what could not be done."""

    def __init__(self, vm: SoakVm, event: Event | None) -> None:
        self._vm, self._event = vm, event
        self._thread = threading.Thread(target=self._happen, name=str(event))
        self.trouble: list[str] = []

    def __enter__(self) -> "Happening":
        if self._event is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._event is not None:
            self._thread.join()

    def _happen(self) -> None:
        assert self._event is not None
        time.sleep(self._event.at_seconds)
        try:
            if self._event.kind is EventKind.GROW:
                self._vm.grow(self._event.target, GROWN_MIB, patient=False)
                return
            with self._vm.away():
                self._take_away(self._event)
        except Exception as error:  # at the top of a thread: the round says it
            self.trouble.append(f"{self._event} could not be carried out: {type(error).__name__}: {error}")

    def _take_away(self, event: Event) -> None:
        if event.kind is EventKind.SUSPEND:
            self._vm.virsh("suspend", self._vm.name)
        elif event.kind is EventKind.SHUTDOWN:
            self._vm.shut_down()
        else:
            self._vm.power_cut()
        time.sleep(event.for_seconds)
        self._vm.ensure(running=True)
