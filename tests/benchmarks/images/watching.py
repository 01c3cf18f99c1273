"""Memory of Seawall's processes while a run is under way: a thread that looks a few times a second."""

import threading
from collections.abc import Callable

from .processes import children, memory_mib

_EVERY_SECONDS = 0.2


class MemoryWatch:
    """`peak_mib`: the most that all watched processes held together; `worker_peak_mib`: the most that one worker held (VmHWM)."""

    def __init__(self, services: Callable[[], list[int]], agent_pid: int) -> None:
        """`services`: the long-running processes; the agent's children are its workers and what these start."""
        self.peak_mib = 0.0
        self.worker_peak_mib = 0.0
        self._services = services
        self._agent_pid = agent_pid
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look_again_and_again, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ending.set()
        self._thread.join()

    def _look_again_and_again(self) -> None:
        while not self._ending.wait(_EVERY_SECONDS):
            workers = children(self._agent_pid)
            below = [pid for worker in workers for pid in children(worker)]
            together = sum(memory_mib(pid, "VmRSS") for pid in (*self._services(), *workers, *below))
            self.peak_mib = max(self.peak_mib, together)
            self.worker_peak_mib = max(self.worker_peak_mib, *(memory_mib(worker, "VmHWM") for worker in workers), 0.0)
