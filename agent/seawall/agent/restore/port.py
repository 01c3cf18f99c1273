"""What a restore worker asks of the host: one call that plans and prepares, sinks to fill, and an end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from seawall.repository.disks import DiskSink
from seawall.repository.format.manifest import Root


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to restore and as what. `disks` not empty: only these targets, as files under `directory`, no VM is defined."""

    attempt_id: str
    root: Root
    domain_xml: str  # from the point; hostile
    vm_name: str  # "" = the name in the point
    new_identity: bool
    start: bool
    directory: str  # "" = the paths in the point
    disks: tuple[str, ...]
    members: Mapping[str, bytes] = field(
        default_factory=dict
    )  # what else the point has of those in members.names.KNOWN; hostile


@dataclass(frozen=True, slots=True)
class TargetDisk:
    """One disk to fill. A fresh target reads as zeroes: zero() on it may be free."""

    target: str
    path: str
    sink: DiskSink


class RestoreTarget(Protocol):
    """A context manager: leaving it without keep() removes every file and definition that it made, and nothing else.

    Between the two calls the caller writes down that the restore is complete. Should it die there, a sweep keeps what is complete.
    """

    disks: Sequence[TargetDisk]
    warnings: Sequence[tuple[str, str]]  # (REASON, message)

    def finish(self) -> str:
        """Flush and close the disks, put members (NVRAM) in place, define, start if asked. Returns the VM's UUID, "" for files only.

        A VM that does not start stays, with a warning.
        """

    def keep(self) -> None:
        """What finish() made stays for good, and is nobody's to clear up any more. Never raises."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
