"""A guest agent that obeys, or not: the part of a Hypervisor that a freeze uses."""

import threading

from seawall.agent.errors import FreezeFailed, HypervisorError, VmNotRunning
from seawall.agent.hypervisor.port import Domain


class Guest:
    """`hears`: whether an order to freeze reaches it; `state`: of the VM, which libvirt asks only when it runs."""

    def __init__(
        self, *, freezes: bool = True, thaw_failures: int = 0, hears: bool = True, reason: str | None = None
    ) -> None:
        self.freezes, self.thaw_failures, self.hears, self.reason = freezes, thaw_failures, hears, reason
        self.state, self.has_keys, self.keys_pressed = "running", True, 0
        self.woken, self.asked = threading.Event(), threading.Event()
        self.frozen = threading.Event()
        self.thawed = threading.Event()
        self.may_freeze = threading.Event()
        self.may_freeze.set()

    def wake_agent(self, vm_id: str, timeout_seconds: int) -> bool:
        self.woken.set()
        if not self.hears:
            raise FreezeFailed("no answer", may_be_frozen=False)
        return self.has_keys

    def press_thaw_keys(self, vm_id: str) -> None:
        self.keys_pressed += 1

    def freeze(self, vm_id: str, timeout_seconds: int) -> int:
        self.asked.set()
        self.may_freeze.wait(20)
        if not self.freezes:
            raise FreezeFailed("no answer", may_be_frozen=self.hears)
        self.frozen.set()
        return 1

    def thaw(self, vm_id: str) -> None:
        if self.state != "running":
            raise VmNotRunning("domain is not running")
        if self.thaw_failures:
            self.thaw_failures -= 1
            raise HypervisorError("the agent's answer was lost", reason=self.reason)
        self.thawed.set()

    def domain(self, vm_id: str) -> Domain:
        return Domain(vm_id, "guest", self.state, ())

    def domains(self) -> list[Domain]:
        return []
