"""Going on with the instant of a worker that was killed: its job, socket and checkpoint live on for a while under their guard."""

import structlog

from seawall.agent.capture.held import find_held, let_go
from seawall.agent.capture.libvirt_capture import LibvirtCapture
from seawall.agent.capture.names import places
from seawall.agent.capture.port import CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.errors import AgentError
from seawall.agent.hypervisor.port import Hypervisor
from seawall.repository.clock import Clock

logger = structlog.get_logger(__name__)


def resume(
    request: CaptureRequest, hypervisor: Hypervisor, settings: CaptureSettings, clock: Clock
) -> LibvirtCapture | None:
    """None where there is nothing to go on with, or where it cannot be: then nothing of it is in the way of a new capture."""
    held = find_held(settings.run_dir, request)
    if held is None:
        return None
    where = places(settings.run_dir, settings.scratch_dir, held.attempt_id)
    if where.frozen_mark.exists():
        # The guest has not thawed yet, and while a job runs libvirt does not see that its agent came back: an end to the job, then.
        let_go(settings.run_dir, held.attempt_id)
        return None
    capture = LibvirtCapture(request, hypervisor, settings, clock, where, resumed_from=held.attempt_id)
    try:
        if not hypervisor.owns_active_job(request.vm_id, where.socket):
            let_go(settings.run_dir, held.attempt_id)
            return None
        capture.start_guard()
        capture.resume(held)
    except AgentError as error:
        logger.warning("capture.not_resumed", attempt_id=request.attempt_id, begun_by=held.attempt_id, error=str(error))
        capture.close()
        return None
    except BaseException:
        capture.close()
        raise
    return capture
