"""What is known of the certificate authority, and how far a rotation is: one value, kept whole in the database and on each disk."""

from dataclasses import dataclass
from enum import StrEnum

from seawall.controller.certificates.generation import Generation

MOST_FORMERS = 8
"""Roots that a host may still trust after so many rotations without it. Each adds 600 bytes to every handshake."""


class Phase(StrEnum):
    SETTLED = "SETTLED"
    """There is one generation."""
    TRUSTING = "TRUSTING"
    """The next one is told to everybody, and signs nothing yet."""
    SIGNING = "SIGNING"
    """The new one signs. What the old one signed is still taken."""


@dataclass(frozen=True, slots=True)
class Former:
    """A root that signs no more, and its word for the one that followed."""

    root_pem: str
    link_pem: str


@dataclass(frozen=True, slots=True)
class AuthorityState:
    version: int
    """Grows with each change: of two states of one cluster the higher one counts."""
    phase: Phase
    present: Generation
    """It signs."""
    other: Generation | None = None
    """TRUSTING: the coming one. SIGNING: the leaving one."""
    link_pem: str = ""
    """TRUSTING: what `present` says of `other`."""
    formers: tuple[Former, ...] = ()
    """Oldest first."""
    without: tuple[str, ...] = ()
    """Ids of hosts that this rotation does not wait for."""
    begun_us: int = 0
    phase_us: int = 0

    @property
    def generations(self) -> tuple[Generation, ...]:
        """Those whose certificates are taken."""
        return (self.present,) if self.other is None else (self.present, self.other)

    @property
    def bundle_pem(self) -> str:
        """What whoever enrols or renews now is to trust."""
        return "".join(each.root_pem for each in self.generations)

    @property
    def known_roots(self) -> tuple[str, ...]:
        """All that ever were, PEM, as far as they are remembered; the present one first."""
        return (*(each.root_pem for each in self.generations), *(each.root_pem for each in self.formers))


def first_state(generation: Generation) -> AuthorityState:
    """Of a controller that was just made."""
    return AuthorityState(1, Phase.SETTLED, generation)
