"""`python -m seawall.agent.worker ATTEMPT`: a worker over libvirt. Only the supervisor starts it."""

import sys
from functools import partial

from seawall.agent.capture.libvirt_capture import open_capture
from seawall.agent.capture.names import checkpoint_name
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.config import AgentConfig
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.agent.restore.libvirt_target import open_target
from seawall.agent.restore.settings import RestoreSettings
from seawall.agent.worker.adapters import Adapters
from seawall.agent.worker.main import main
from seawall.repository.clock import Clock
from seawall.repository.store.presigned import PresignedClient


def libvirt_adapters(config: AgentConfig, clock: Clock) -> Adapters:
    """The real ones."""
    hypervisor = LibvirtHypervisor(config.hypervisor, clock)
    settings = CaptureSettings(
        run_dir=config.run_dir,
        scratch_dir=config.scratch_dir,
        hypervisor=config.hypervisor,
        scratch_quota_bytes=config.scratch_quota_bytes or None,
    )
    restores = RestoreSettings(run_dir=config.run_dir, state_dir=config.state_dir)
    return Adapters(
        open_capture=lambda request: open_capture(request, hypervisor, settings, clock),
        open_target=partial(open_target, hypervisor=hypervisor, settings=restores, clock=clock),
        checkpoint_name=checkpoint_name,
        transfer=PresignedClient(clock=clock),
    )


if __name__ == "__main__":
    sys.exit(main(libvirt_adapters))
