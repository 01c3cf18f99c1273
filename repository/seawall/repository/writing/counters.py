"""Counters of one disk on its way: written by the writer's threads, read by whoever reports progress."""

from threading import Lock


class DiskCounters:
    """Bytes. Reading the attributes needs no lock; a set of them read together may be some chunks apart.

    `planned`: what will be read at least; an incremental reads a little more around each change, and `planned` follows when all is read.
    """

    def __init__(self) -> None:
        self.planned_bytes = 0
        self.read_bytes = 0
        self.new_bytes = 0
        self.stored_bytes = 0
        self.done = False
        self._lock = Lock()

    def add(self, *, planned: int = 0, read: int = 0, new: int = 0, stored: int = 0) -> None:
        with self._lock:
            self.planned_bytes += planned
            self.read_bytes += read
            self.new_bytes += new
            self.stored_bytes += stored

    def finish(self) -> None:
        with self._lock:
            self.planned_bytes = self.read_bytes
            self.done = True
