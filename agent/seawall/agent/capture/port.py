"""What a backup worker asks of capture: one call that returns a VM's disks at one instant, and an end to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from seawall.agent.capture.frozen_time import FrozenTime
from seawall.repository.disks import DiskSource
from seawall.repository.format.checkpoint import Checkpoint

if TYPE_CHECKING:  # the supervisor knows this module, and does without the manifests' numpy
    from seawall.repository.format.root import Root


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """What to capture and against what. `parent`: root of the newest committed point in the same repository; None, and `no_parent` why."""

    vm_id: str
    attempt_id: str
    agent_id: str
    repository_id: str
    freeze: str  # "never", "try", "require"
    parent: "Root | None"
    exclude_disks: tuple[str, ...]
    no_parent: str = ""
    freeze_limit_ms: int = 0  # 0: as the agent's settings say; the next two as well
    scratch_quota_bytes: int = 0
    scratch_share: float = 0.0
    run_id: str = ""  # the attempts of one run may go on with each other's instant
    group_id: str = ""  # of VMs that are captured at one instant; "" for a VM by itself
    group: tuple[str, ...] = ()  # their ids


@dataclass(frozen=True, slots=True)
class CapturedDisk:
    """One disk at the instant. `how`: "bitmap", "compare", "full"; `why`: one sentence for the operator."""

    target: str
    size_bytes: int
    format: str
    source_path: str
    sector_bytes: int
    how: str
    why: str
    source: DiskSource  # of a "bitmap" disk: clean extents are those the bitmap leaves out
    source_id: str = ""  # as in DiskManifest


class Capture(Protocol):
    """A context manager: leaving it ends the job, closes NBD connections and removes socket and scratch, whatever happened.

    The new checkpoint is deleted on leaving unless `keep_checkpoint()` was called (after the point is committed, or when that is unknown).
    """

    disks: Sequence[CapturedDisk]
    instant_us: int
    guest_frozen: bool
    warnings: Sequence[tuple[str, str]]  # (REASON, message)
    members: Mapping[str, bytes]  # small files of the point by name: "domain.xml", "nvram.fd", ...
    checkpoint: Checkpoint | None
    resumed_from: str  # the attempt that began it, where that one's worker was killed and this goes on with its instant

    @property
    def frozen(self) -> FrozenTime:
        """For how long the guest was frozen, at most once; 0: it was not, or has not answered the thaw yet."""

    def check(self) -> None:
        """Raise ScratchFull, Canceled or HypervisorError when it can no longer be trusted. Cheap; call it often, and before commit."""

    def keep_checkpoint(self) -> None: ...

    def handing_in(self, now: bool) -> None:
        """True: all is read, so that no other worker needs this instant, should this one be killed. False: it reads again."""

    def leave(self) -> None:
        """This process ends, and another worker of the run shall go on with the instant: leaving ends nothing, the guard does in time."""

    def delete_older_checkpoints(self) -> None:
        """After the commit: delete this repository's checkpoints of this VM except this one and its base (the parent's)."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
