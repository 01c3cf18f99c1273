"""`python -m seawall.agent.worker ATTEMPT`: a worker over libvirt. Only the supervisor starts it."""

import sys
from functools import partial

from seawall.agent.worker import quick_start  # before what it makes quicker

# isort: split
from seawall.agent.capture.names import checkpoint_name
from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.config import AgentConfig
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.agent.restore.libvirt_target import open_target
from seawall.agent.restore.settings import RestoreSettings
from seawall.agent.worker.adapters import Adapters
from seawall.agent.worker.main import main
from seawall.repository.clock import Clock
from seawall.repository.store.presigned import PresignedClient

HOLD_SECONDS = 60.0
"""Longer than the next attempt of a run takes to begin, also where the agent itself has to be started again."""


def libvirt_adapters(config: AgentConfig, clock: Clock) -> Adapters:
    """The real ones."""
    hypervisor = LibvirtHypervisor(config.hypervisor, clock)
    settings = CaptureSettings(
        run_dir=config.run_dir,
        scratch_dir=config.scratch_dir,
        hypervisor=config.hypervisor,
        scratch_quota_bytes=config.scratch_quota_bytes or None,
        hold_seconds=HOLD_SECONDS,
    )
    restores = RestoreSettings(run_dir=config.run_dir, state_dir=config.state_dir)
    return Adapters(
        open_capture=lambda request: open_capture(request, hypervisor, settings, clock),
        open_target=partial(open_target, hypervisor=hypervisor, settings=restores, clock=clock),
        checkpoint_name=checkpoint_name,
        transfer=PresignedClient(clock=clock),
        block_counts=LibvirtHypervisor(
            config.hypervisor, clock
        ).block_counts,  # of its own: no other call is in its way
    )


if __name__ == "__main__":
    quick_start.started()
    sys.exit(main(libvirt_adapters))
