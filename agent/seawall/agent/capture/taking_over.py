"""The bitmaps of a VM that moved here: QEMU has them, as they came in the disks' files, and libvirt is told of them by a checkpoint."""

from collections.abc import Collection

import structlog

from seawall.agent.errors import AgentError, CheckpointBroken
from seawall.agent.hypervisor.port import Hypervisor

logger = structlog.get_logger(__name__)


def take_over(hypervisor: Hypervisor, vm_id: str, checkpoint: str, targets: Collection[str]) -> frozenset[str]:
    """Those disks whose bitmap is sound, as libvirt asked QEMU; the checkpoint is known here with exactly these. Raises no AgentError."""
    left = set(targets)
    while left:
        try:
            hypervisor.redefine_checkpoint(vm_id, checkpoint, sorted(left))
            logger.info("capture.checkpoint_taken_over", vm_id=vm_id, checkpoint=checkpoint, disks=sorted(left))
            return frozenset(left)
        except CheckpointBroken as error:
            logger.info("capture.bitmap_not_taken_over", vm_id=vm_id, disk=error.disk, error=str(error))
            left -= {error.disk} if error.disk in left else left
        except AgentError as error:
            logger.warning("capture.checkpoint_not_taken_over", vm_id=vm_id, error=str(error))
            return frozenset()
    return frozenset()
