"""The hypervisor's checkpoint in a root. Apart from `root`: an agent's supervisor knows checkpoints, and does without numpy this way."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The libvirt checkpoint born with this point; counts as a base only once the point is committed."""

    name: str
    agent_id: str
    xml: str
    disks: tuple[str, ...]  # those with a bitmap
