"""The guard's main loop: hears orders, reports, and leaves when its owner says so or when nothing is left to do."""

import os
from dataclasses import replace
from pathlib import Path

from seawall.agent.capture.guard.freezing import Freezing
from seawall.agent.capture.guard.pipe_lines import PipeLines
from seawall.agent.capture.guard.protocol import (
    AWAIT_SECONDS,
    Order,
    Report,
    Setup,
    parse_order,
    report_line,
    verdict_of,
)
from seawall.agent.capture.guard.watching import Watching
from seawall.agent.capture.limits import Limits
from seawall.agent.errors import AgentError
from seawall.agent.hypervisor.port import Hypervisor
from seawall.repository.clock import Clock

LOOK_UP_MILLISECONDS = 200
"""How often it looks up from its orders to see whether it may leave."""


class Guard:
    """One capture's guard. `orders` and `reports`: descriptors of the pipes to its owner."""

    def __init__(self, setup: Setup, hypervisor: Hypervisor, clock: Clock, orders: PipeLines, reports: int) -> None:
        self._orders, self._reports = orders, reports
        agent = _agent_socket(hypervisor, setup.vm_id)
        self._freezing = Freezing(hypervisor, setup.vm_id, setup.mark, setup.freeze_seconds, clock, agent)
        self._watching = Watching(
            hypervisor, setup, clock, frozen=lambda: self._freezing.report().frozen, stuck=self._freezing.stuck
        )

    def run(self) -> None:
        """Returns when the job is over, however it ended."""
        self._watching.start()
        self._tell()
        if self._serve():
            return
        self._freezing.thaw()
        self._watching.owner_gone()
        self._watching.done.wait()

    def _serve(self) -> bool:
        """Until the owner is gone: False; or until there is nothing left to guard."""
        while True:
            line = self._orders.line(LOOK_UP_MILLISECONDS)
            if line == b"":
                return False
            if line and self._obey(*parse_order(line)):
                return True
            if self._watching.done.is_set():
                self._tell()
                return True

    def _obey(self, order: Order, limits: Limits | None) -> bool:
        """Whether it was the last order."""
        match order:
            case Order.FREEZE:
                self._freezing.freeze()
            case Order.AWAIT:
                self._freezing.await_outcome(AWAIT_SECONDS)
            case Order.THAW:
                self._freezing.thaw()
            case Order.BEGIN if limits is not None:
                self._watching.begin(limits)
            case Order.BEGUN:
                self._watching.begun()
            case _:
                pass
        self._watching.sign(work=order not in (Order.ALIVE, Order.AWAIT))
        self._tell()
        return order is Order.OVER

    def _tell(self) -> None:
        """An owner that is gone hears nothing; the orders' end tells."""
        try:
            os.write(self._reports, report_line(self._report()))
        except OSError:
            return

    def _report(self) -> Report:
        verdict = self._watching.verdict
        return replace(self._freezing.report(), verdict=verdict_of(verdict) if verdict else None)


def _agent_socket(hypervisor: Hypervisor, vm_id: str) -> Path | None:
    """None where the guest has no agent, or libvirt does not say."""
    try:
        return hypervisor.agent_socket(vm_id)
    except AgentError:
        return None
