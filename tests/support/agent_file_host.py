"""Capture and restore over plain image files, for tests of workers: a VM is a folder of `<disk>.img`, an instant is a copy of it.

`file:///<folder>` as the hypervisor's URI names the folder of VMs. A checkpoint is the copy that was taken with it; dirty since a
checkpoint are the blocks that differ from it. A file `slow` in the VM's folder makes every read take a second until it is removed; a file
`hold` makes reads wait until it is gone.
"""

import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from seawall.agent.capture.frozen_time import FrozenTime
from seawall.agent.capture.names import checkpoint_name, places, repository_prefix
from seawall.agent.capture.port import CapturedDisk, CaptureRequest
from seawall.agent.config import AgentConfig
from seawall.agent.errors import RestoreRefused, VmNotFound
from seawall.agent.restore.port import RestoreRequest, TargetDisk
from seawall.agent.throttle.latency import BlockCounts, Look
from seawall.agent.worker.adapters import Adapters
from seawall.repository.clock import Clock
from seawall.repository.disks import Extent
from seawall.repository.format.manifest import Checkpoint
from seawall.repository.store.presigned import PresignedClient

BLOCK = 4096
ZERO = bytes(BLOCK)
SLOW_SECONDS = 1.0
HOLD_SECONDS = 300.0


def folder_of(config: AgentConfig) -> Path:
    return Path(config.hypervisor.removeprefix("file://"))


def adapters(config: AgentConfig, clock: Clock) -> Adapters:
    return Adapters(
        open_capture=lambda request: FileCapture(config, request, clock),
        open_target=lambda request: FileTarget(folder_of(config), request),
        checkpoint_name=checkpoint_name,
        transfer=PresignedClient(clock=clock),
        block_counts=lambda vm_id: block_counts(folder_of(config) / vm_id / "block_counts"),
    )


def block_counts(file: Path) -> Look:
    """Of a guest that works on vda: requests and nanoseconds so far, as a test writes them down. Without the file nobody can tell."""
    try:
        return {"vda": BlockCounts(*map(int, file.read_text().split()))}
    except FileNotFoundError:
        return {}


class FileSource:
    """A DiskSource over an image; `base`: clean where the two agree."""

    def __init__(self, image: bytes, base: bytes | None, slow: Path) -> None:
        self._image, self._base, self._slow = image, base, slow
        self._began = time.monotonic()

    @property
    def size_bytes(self) -> int:
        return len(self._image)

    def extents(self, offset: int, length: int) -> Sequence[Extent]:
        return [
            Extent(start, end - start, self._dirty(start, end), self._image[start:end] == ZERO[: end - start])
            for start in range(offset, offset + length, BLOCK)
            for end in [min(start + BLOCK, offset + length)]
        ]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        while self._slow.with_name("hold").exists() and time.monotonic() < self._began + HOLD_SECONDS:
            time.sleep(0.01)
        deadline = time.monotonic() + SLOW_SECONDS
        while self._slow.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        buffer[:] = self._image[offset : offset + len(buffer)]

    def _dirty(self, start: int, end: int) -> bool:
        return self._base is None or self._base[start:end] != self._image[start:end]


class FileCapture:
    """See Capture. Leaves `<run>/captures/<attempt>` while it lives, as the real one does."""

    def __init__(self, config: AgentConfig, request: CaptureRequest, clock: Clock) -> None:
        self._vm = folder_of(config) / request.vm_id
        if not self._vm.is_dir():
            raise VmNotFound(f"no VM {request.vm_id} on this host")
        self._request = request
        self._marks = self._vm / "checkpoints"
        self._name = checkpoint_name(request.repository_id, request.attempt_id)
        self._keep = False
        self._place = places(config.run_dir, config.scratch_dir, request.attempt_id).run
        self._place.mkdir(parents=True)
        (self._marks / self._name).mkdir(parents=True)
        for image in self._vm.glob("*.img"):
            shutil.copy(image, self._marks / self._name / image.name)
        self.instant_us = clock.now_us()
        self.guest_frozen = False
        self.frozen = FrozenTime()
        self.resumed_from = ""
        self.warnings: Sequence[tuple[str, str]] = ()
        self.members: Mapping[str, bytes] = {"domain.xml": (self._vm / "domain.xml").read_bytes()}
        self.disks: Sequence[CapturedDisk] = tuple(
            self._disk(path) for path in sorted((self._marks / self._name).glob("*.img"))
        )
        self.checkpoint: Checkpoint | None = Checkpoint(
            self._name, request.agent_id, f"<domaincheckpoint><name>{self._name}</name></domaincheckpoint>", ("vda",)
        )

    def check(self) -> None:
        assert self._place.is_dir()

    def keep_checkpoint(self) -> None:
        self._keep = True

    def handing_in(self, now: bool) -> None:
        """Its place is gone with its worker."""

    def leave(self) -> None:
        """The same."""

    def delete_older_checkpoints(self) -> None:
        for path in self._marks.glob(f"{repository_prefix(self._request.repository_id)}*"):
            if path.name not in (self._name, self._base_name()):
                shutil.rmtree(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._place.rmdir()
        if not self._keep:
            shutil.rmtree(self._marks / self._name)

    def _base_name(self) -> str:
        parent = self._request.parent
        return parent.checkpoint.name if parent is not None and parent.checkpoint is not None else ""

    def _disk(self, path: Path) -> CapturedDisk:
        base = self._marks / self._base_name() / path.name if self._base_name() else None
        tracked = base is not None and base.exists()
        how = "bitmap" if tracked else "compare" if self._request.parent is not None else "full"
        image = path.read_bytes()
        source = FileSource(image, base.read_bytes() if base is not None and tracked else None, self._vm / "slow")
        why = "" if tracked else self._request.no_parent or "no bitmap"
        return CapturedDisk(path.stem, len(image), "raw", str(self._vm / path.name), 512, how, why, source)


class FileSink:
    """A DiskSink into a fresh file."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._file = path.open("xb", buffering=0)
        self._file.truncate(size_bytes)
        self._path = path

    def write(self, offset: int, data: bytes | memoryview) -> None:
        with self._path.open("r+b", buffering=0) as file:
            file.seek(offset)
            file.write(data)

    def zero(self, offset: int, length: int) -> None:
        """A fresh file reads as zeroes."""

    def flush(self) -> None:
        self._file.close()


class FileTarget:
    """See RestoreTarget: a new folder beside the other VMs."""

    def __init__(self, folder: Path, request: RestoreRequest) -> None:
        self._vm_id = str(uuid.uuid4()) if request.new_identity else request.root.vm_id
        self._folder = folder / self._vm_id
        if self._folder.exists():
            raise RestoreRefused(f"VM {self._vm_id} exists on this host")
        self._folder.mkdir(parents=True)
        self._request = request
        self._kept = False
        self.warnings: Sequence[tuple[str, str]] = ()
        self.disks: Sequence[TargetDisk] = tuple(
            TargetDisk(disk.disk, str(path), FileSink(path, disk.size_bytes))
            for disk in request.root.disks
            for path in [self._folder / f"{disk.disk}.img"]
        )

    def finish(self) -> str:
        (self._folder / "domain.xml").write_text(self._request.domain_xml)
        return self._vm_id

    def keep(self) -> None:
        self._kept = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._kept:
            shutil.rmtree(self._folder)
