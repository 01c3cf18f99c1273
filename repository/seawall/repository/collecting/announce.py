"""Nothing is deleted before the bucket says so, and before a look that no later controller leads there (rule 5)."""

from collections.abc import Mapping

from seawall.repository.collecting.port import LedgerRefused
from seawall.repository.forgetting.leaders import LeaderMark, newest_leader
from seawall.repository.format.condemn_log import CondemnLog, sign_condemn_log
from seawall.repository.format.layout import condemned_name
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.repository import OpenRepository
from seawall.repository.store.port import Store


def announce(repository: OpenRepository, seq: int, slots: Mapping[bytes, SlotSet], leader: LeaderMark) -> None:
    """PUT the log of number `seq`, then look who leads. `slots`: by pack, all that are condemned; of a VOID id EVERY_SLOT.

    Raises LedgerRefused/NOT_LEADER; ObjectExists when another history uses that number.
    """
    log = CondemnLog(repository.config.lineage_id, seq, leader.epoch, slots)
    repository.require_writable()
    body = sign_condemn_log(log, repository.secrets.signing_secret_key)
    repository.store.put(condemned_name(seq, leader.epoch), body)
    require_newest(repository.store, leader)


def require_newest(store: Store, leader: LeaderMark) -> None:
    """Raises LedgerRefused/NOT_LEADER when the bucket knows a later one."""
    newest = newest_leader(store)
    if newest > leader:
        raise LedgerRefused(
            "NOT_LEADER", f"A controller of epoch {newest} uses this bucket; this one has epoch {leader} and stops."
        )
