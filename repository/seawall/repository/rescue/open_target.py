"""What an image file and a block device have in common once they are open: bytes written, synced and read back at their places."""

import os

from seawall.repository.blocks import read_at, write_at
from seawall.repository.rescue.files import target_errors


class OpenTarget:
    """Thread-safe; every call names its place. Raises TargetFull, TargetUnwritable, saying `label`."""

    def __init__(self, descriptor: int, label: str) -> None:
        self._descriptor = descriptor
        self._label = label

    def write(self, offset: int, data: bytes | memoryview) -> None:
        with target_errors(self._label):
            write_at(self._descriptor, offset, data)

    def flush(self) -> None:
        with target_errors(self._label):
            os.fsync(self._descriptor)

    def read(self, offset: int, length: int) -> bytes:
        with target_errors(self._label):
            return read_at(self._descriptor, offset, length)
