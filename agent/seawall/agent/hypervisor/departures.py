"""Which VMs left this host by migration, as the hypervisor says at that moment. Kept while it is of use, in memory alone.

What happens while nobody listens (the daemon or this agent is being restarted) is not known afterwards: such a VM's next backup reads
everything, or an operator speaks for it.
"""

import threading
from typing import Any

import structlog

from seawall.agent.errors import AgentError
from seawall.agent.hypervisor import libvirt_host
from seawall.repository.clock import Clock

KEPT_SECONDS = 900.0
AGAIN_SECONDS = 5.0
"""Before the daemon is called again that did not answer."""

_log = structlog.get_logger(__name__)


class DepartureWatch:
    """Listens in a thread of its own until the process ends."""

    def __init__(self, uri: str, clock: Clock) -> None:
        self._uri = uri
        self._clock = clock
        self._left_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._connection: Any = None
        self._again_at = 0.0

    def start(self) -> None:
        libvirt_host.prepare_events()  # before the first connection of this process
        threading.Thread(target=self._listen, name="departures", daemon=True).start()

    def left_ms(self) -> dict[str, int]:
        now = self._clock.monotonic_seconds()
        with self._lock:
            self._left_at = {vm_id: at for vm_id, at in self._left_at.items() if now - at < KEPT_SECONDS}
            return {vm_id: int((now - at) * 1000) for vm_id, at in self._left_at.items()}

    def _listen(self) -> None:
        while True:
            self._connect()
            libvirt_host.await_events()

    def _connect(self) -> None:
        if self._connection is not None and libvirt_host.is_alive(self._connection):
            return
        if self._clock.monotonic_seconds() < self._again_at:
            return
        self._again_at = self._clock.monotonic_seconds() + AGAIN_SECONDS
        try:
            self._connection = libvirt_host.listened_to(self._uri, self._note, self._forget)
            _log.info("departures.listening")
        except AgentError as error:
            self._connection = None
            _log.info("departures.not_heard", error=str(error))

    def _note(self, vm_id: str) -> None:
        with self._lock:
            self._left_at[vm_id] = self._clock.monotonic_seconds()
        _log.info("vm.migrated_away", vm_id=vm_id)

    def _forget(self, vm_id: str) -> None:
        with self._lock:
            self._left_at.pop(vm_id, None)
