"""What a capture does when its guard is lost: thaw, and end the job. The capture itself fails with GUARD_LOST meanwhile."""

import threading
from collections.abc import Callable
from contextlib import suppress

import structlog

from seawall.agent.capture.ending import end_job_at, thaw, try_thaw
from seawall.agent.capture.guard.protocol import Setup
from seawall.agent.errors import AgentError
from seawall.agent.hypervisor.port import Hypervisor
from seawall.repository.clock import Clock

logger = structlog.get_logger(__name__)

AGAIN_SECONDS = 1.0
"""Before the first repetition; doubled up to the longest."""
AGAIN_LONGEST_SECONDS = 30.0


def stand_in(hypervisor: Hypervisor, setup: Setup, clock: Clock) -> None:
    """Returns at once; a thread does it, for as long as it takes or this process lives."""
    threading.Thread(target=_do, args=(hypervisor, setup, clock), name="stand in for the guard", daemon=True).start()


def _do(hypervisor: Hypervisor, setup: Setup, clock: Clock) -> None:
    """Nothing is logged before all is done.

    The second thaw is for a freeze that the guard had just sent when it died, and that was carried out after the first.
    """
    if setup.mark.exists():
        _until_done(lambda: thaw(hypervisor, setup.vm_id), clock)
        clock.sleep_seconds(AGAIN_SECONDS)
        _until_done(lambda: try_thaw(hypervisor, setup.mark), clock)
    _until_done(lambda: end_job_at(hypervisor, setup.vm_id, setup.socket), clock)
    logger.warning("capture.guard_lost", vm_id=setup.vm_id)


def _until_done(step: Callable[[], object], clock: Clock) -> None:
    seconds = AGAIN_SECONDS
    while True:
        with suppress(AgentError):
            step()
            return
        clock.sleep_seconds(seconds)
        seconds = min(2 * seconds, AGAIN_LONGEST_SECONDS)
