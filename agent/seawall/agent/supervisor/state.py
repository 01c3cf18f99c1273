"""What the loops of one supervisor share: the session, the last contact, and what health reports. Touched in the event loop only."""

from dataclasses import dataclass, field

from seawall.agent.control.identity import Identity
from seawall.agent.control.messages import Session
from seawall.agent.limits.division import Share


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
    share: Share = field(default_factory=Share)
    """Of the bandwidth, as the last heartbeat's answer said."""
