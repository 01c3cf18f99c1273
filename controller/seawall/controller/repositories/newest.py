"""A look at who leads, as the bucket says: what a lost database would not know is safe only while nobody else leads (rule 5)."""

from seawall.controller.errors import Unavailable
from seawall.controller.repositories.opened import OpenedRepository
from seawall.repository.forgetting.burying import highest_epoch


def require_newest(opened: OpenedRepository, epoch: int) -> None:
    """After an announcement, before whatever counts on it. Raises Unavailable/NOT_LEADER, and what the store raises."""
    highest = highest_epoch(opened.store)
    if highest > epoch:
        raise Unavailable(
            "NOT_LEADER",
            f"A controller of epoch {highest} uses {opened.record.url}, later than this one's {epoch}. "
            "End the other controller, or restart this one.",
        )
