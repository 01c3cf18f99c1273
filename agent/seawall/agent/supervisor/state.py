"""What the loops of one supervisor share: the session, the last contact, and what health reports. Touched in the event loop only."""

import asyncio
from dataclasses import dataclass, field

from seawall.agent.control.identity import Identity
from seawall.agent.control.messages import Session
from seawall.agent.limits.division import Share
from seawall.agent.supervisor.link import Trust


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
    generation: int | None = None
    """Of this host's desired set, as the session's last poll said: another one may also mean that somebody claimed a VM of this host."""
    trust: Trust = field(default_factory=Trust)
    """As the controller said last."""
    trust_news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it wants something."""
    share: Share = field(default_factory=Share)
    """Of the bandwidth, as the last heartbeat's answer said."""

    def hear(self, trust: Trust) -> None:
        """What a Hello or a heartbeat brought."""
        self.trust = trust
        if trust != Trust():
            self.trust_news.set()
