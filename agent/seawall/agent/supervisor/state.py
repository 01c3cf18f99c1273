"""What the loops of one supervisor share: the session, the last contact, and what health reports. Touched in the event loop only."""

from dataclasses import dataclass

from seawall.agent.control.identity import Identity
from seawall.agent.control.messages import Session


@dataclass(slots=True)
class SupervisorState:
    """Mutable, owned by the supervisor."""

    identity: Identity
    session: Session | None = None
    lease_until: float = 0.0  # monotonic seconds; counted from the moment the answered request was sent
    last_heartbeat_us: int = 0
    last_error: str = ""
    hypervisor: str = ""
    vm_count: int = 0
