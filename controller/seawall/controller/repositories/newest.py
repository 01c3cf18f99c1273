"""A look at who leads, as the bucket says: what a lost database would not know is safe only while nobody else leads (rule 5)."""

from seawall.controller.errors import Unavailable
from seawall.controller.repositories.opened import OpenedRepository
from seawall.repository.forgetting.leaders import newest_leader


def require_newest(opened: OpenedRepository) -> None:
    """After an announcement, before whatever counts on it. Raises Unavailable/NOT_LEADER, and what the store raises."""
    newest = newest_leader(opened.store)
    if newest > opened.mark:
        raise Unavailable(
            "NOT_LEADER",
            f"A controller of epoch {newest} uses {opened.record.url}, later than this one's {opened.mark}. "
            "End the other controller, or restart this one.",
        )
