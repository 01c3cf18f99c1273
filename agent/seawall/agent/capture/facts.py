"""What the plan of a capture depends on."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from seawall.agent.hypervisor.port import Domain
from seawall.repository.format.manifest import DiskManifest, Root


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """What the plan depends on."""

    domain: Domain
    keeps_bitmaps: Mapping[str, bool]  # target -> the file is qcow2 of version 3
    parent: Root | None
    bases: Mapping[str, Collection[str]]  # checkpoints on this host -> targets with a bitmap in it
    agent_id: str
    exclude: Collection[str]
    no_parent: str = ""  # why there is none
    source_ids: Mapping[str, str] = field(default_factory=dict)  # paths of the parent's disks -> the files there now
    stored: Mapping[str, Collection[str]] | None = None  # of a VM that is off: target -> usable bitmaps in its file


def is_moved(facts: CaptureFacts) -> bool:
    """Whether the parent point was taken on another host, or by an agent that was enrolled before this one."""
    checkpoint = facts.parent.checkpoint if facts.parent else None
    return checkpoint is not None and checkpoint.agent_id != facts.agent_id


def in_parent(target: str, parent: Root | None) -> DiskManifest | None:
    return next((one for one in parent.disks if one.disk == target), None) if parent else None
