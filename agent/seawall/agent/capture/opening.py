"""Opening a capture of a VM as it is now: by a backup job while it has a QEMU, by reading its images while it is off."""

import structlog

from seawall.agent.capture.libvirt_capture import capture_running
from seawall.agent.capture.off_capture import capture_off
from seawall.agent.capture.port import Capture, CaptureRequest
from seawall.agent.capture.resuming import resume
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.capture.sweep import sweep_vm
from seawall.agent.capture.together import GroupIncomplete, rendezvous
from seawall.agent.errors import AgentError, VmBusy, VmMigrating, VmNotRunning, VmStarted
from seawall.agent.hypervisor.port import OFF, Domain, Hypervisor
from seawall.repository.clock import Clock

logger = structlog.get_logger(__name__)

TRIES = 3
"""A VM may be stopped or started between the look at it and the capture's beginning."""


def open_capture(request: CaptureRequest, hypervisor: Hypervisor, settings: CaptureSettings, clock: Clock) -> Capture:
    """Capture the VM now. Cleans up after itself when it fails.

    Raises VmNotFound, VmNotRunning, VmStarted, VmMigrating, VmBusy, FreezeFailed, NothingToBackUp, ScratchFull, GuardLost,
    DiskUnreadable, DiskNeedsRunningVm, HypervisorError.
    """
    settings = settings.wanted(request.freeze_limit_ms, request.scratch_quota_bytes, request.scratch_share)
    resumed = resume(request, hypervisor, settings, clock)
    if resumed is not None:
        return resumed
    for sentence in sweep_vm(hypervisor, request.vm_id, settings.run_dir, request.attempt_id):
        logger.info("capture.leftover_removed", attempt_id=request.attempt_id, what=sentence)
    group = rendezvous(request, settings.run_dir, clock)
    try:
        return _opened_as_it_is(request, hypervisor, settings, clock)
    except AgentError:
        if group is not None:
            group.fail()
        raise


def _opened_as_it_is(
    request: CaptureRequest, hypervisor: Hypervisor, settings: CaptureSettings, clock: Clock
) -> Capture:
    for _ in range(TRIES - 1):
        try:
            return _opened(request, hypervisor, settings, clock)
        except (VmNotRunning, VmStarted) as error:
            logger.info("capture.state_changed", attempt_id=request.attempt_id, error=str(error))
    return _opened(request, hypervisor, settings, clock)


def _opened(request: CaptureRequest, hypervisor: Hypervisor, settings: CaptureSettings, clock: Clock) -> Capture:
    domain = hypervisor.domain(request.vm_id)
    _refuse(hypervisor, domain)
    if request.group_id and domain.state == OFF:
        raise GroupIncomplete(
            f"The VM {domain.name!r} is off, and a group is captured while all of its guests are frozen."
        )
    capture = capture_off if domain.state == OFF else capture_running
    return capture(request, hypervisor, settings, clock, domain)


def _refuse(hypervisor: Hypervisor, domain: Domain) -> None:
    if hypervisor.is_migrating(domain.vm_id):
        raise VmMigrating(f"The VM {domain.name!r} is on its way to another host, or was left here when it went.")
    if hypervisor.has_job(domain.vm_id):
        raise VmBusy(
            f"A job that is not Seawall's runs on the VM {domain.name!r}.",
            next_step="See `virsh domjobinfo` on that host: another backup tool or a snapshot; it is tried again.",
        )
