"""A fresh fleet for one round: the laboratory with two hosts and agents, its controller, and the Ceph gateway as its store."""

from types import TracebackType

from deploy.lab.laboratory import HYPERVISORS, Laboratory
from deploy.lab.processes import Service

from .ceph_store import CephStore

NAME = "bench"
BUCKETS = ("seawall", "seawall-bitmap", "seawall-sparse")
"""restic makes its own."""
HOST = "alpha"
"""Where the VMs are, and where the other tools run too: all have the same way to the store."""


class Fleet:
    """As users run it. Leaves nothing behind."""

    def __init__(self) -> None:
        self.lab = Laboratory(NAME)
        self.store = CephStore(self.lab.hub)
        self.host = self.lab.hosts[HOST]
        self.hypervisor = self.lab.hypervisors[HOST]

    def __enter__(self) -> "Fleet":
        self.lab.__enter__()
        try:
            self._start()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.stop()
        self.lab.__exit__(kind, value, trace)

    def _start(self) -> None:
        self.store.start(*BUCKETS)
        for hypervisor in self.lab.hypervisors.values():
            hypervisor.start()
        self.lab.initialise_controller()
        self.lab.start_controller()
        for name in HYPERVISORS:
            self.lab.join(name)
            self.lab.start_agent(name)
        self.lab.await_hosts_online()

    @property
    def controller(self) -> Service:
        return self.lab.services["controller"]

    @property
    def agent(self) -> Service:
        return self.lab.services[f"agent-{HOST}"]
