"""Which protocols of agents a controller speaks, and which one a session is held in. Pure.

Fields and methods are added without a new number: whoever does not know them leaves them out. A number changes when a message means another
thing than before; then a controller speaks the new one and the two before it: hosts are upgraded after their controllers, in any order.
"""

from dataclasses import dataclass

from seawall.controller.errors import FailedPrecondition

OLDER = 2
"""So many protocols before the newest one are spoken."""


@dataclass(frozen=True, slots=True)
class Protocols:
    newest: int

    @property
    def oldest(self) -> int:
        return max(1, self.newest - OLDER)

    def older_than(self, least: int, most: int) -> bool:
        """Whether it is the controller that is to be upgraded."""
        return self.newest < least <= most

    def agreed(self, least: int, most: int) -> int:
        """The newest that both speak. Raises FailedPrecondition/NEEDS_UPGRADE, which says who is to be upgraded."""
        agreed = min(most, self.newest)
        if agreed >= max(least, self.oldest, 1):
            return agreed
        both = f"The agent speaks protocols {least} to {most}, this controller {self.oldest} to {self.newest}"
        if self.older_than(least, most):
            raise FailedPrecondition("NEEDS_UPGRADE", f"{both}: upgrade the controller first, then its hosts.")
        if most < self.oldest:
            raise FailedPrecondition(
                "NEEDS_UPGRADE",
                f"{both}: upgrade Seawall on this host. What it works on goes on until its agent restarts.",
            )
        raise FailedPrecondition("NEEDS_UPGRADE", f"{both}: that is no range; upgrade Seawall on this host.")


SPOKEN = Protocols(newest=1)
