"""What a worker needs of this host and of the store, as ports. Built once per process, by `__main__` over libvirt, by tests over fakes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from seawall.agent.capture.port import Capture, CaptureRequest
from seawall.agent.config import AgentConfig
from seawall.agent.restore.port import RestoreRequest, RestoreTarget
from seawall.agent.throttle.latency import Look
from seawall.repository.clock import Clock
from seawall.repository.store.port import SignedTransfer


@dataclass(frozen=True, slots=True)
class Adapters:
    """`checkpoint_name`: repository id, attempt id -> the name that `open_capture` will give its checkpoint."""

    open_capture: Callable[[CaptureRequest], Capture]
    open_target: Callable[[RestoreRequest], RestoreTarget]
    checkpoint_name: Callable[[str, str], str]
    transfer: SignedTransfer
    block_counts: Callable[[str], Look] | None = None
    """VM id -> what its guest's requests took, by disk. None where nobody can tell."""


BuildAdapters: TypeAlias = Callable[[AgentConfig, Clock], Adapters]
