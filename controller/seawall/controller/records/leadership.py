"""Who leads, and who else serves this database."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Leader:
    """A held leadership: the guard of every leader write. `epoch` grows with each start."""

    holder: str
    epoch: int
    server: str = field(default="", compare=False)
    """The database server's history and start, where it can change under a leader: another one ends the leadership."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A controller on this database, and where it is reached (host:port)."""

    id: str
    version: str
    operator_address: str
    agent_address: str
    seen_us: int = 0


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """The leader's row as it is. `holder` "": nobody leads. It changes with each renewal."""

    holder: str
    epoch: int
    expires_us: int
    operator_address: str = ""
    agent_address: str = ""
