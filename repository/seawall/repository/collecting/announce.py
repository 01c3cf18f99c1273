"""Nothing is deleted before the bucket says so, and before a look that no later controller leads there (rule 5)."""

from seawall.repository.collecting.port import Doomed, LedgerRefused
from seawall.repository.forgetting.burying import highest_epoch
from seawall.repository.format.condemn_log import CondemnLog, sign_condemn_log
from seawall.repository.format.layout import condemned_name
from seawall.repository.repository import OpenRepository
from seawall.repository.store.port import Store


def announce(repository: OpenRepository, doomed: Doomed, epoch: int) -> None:
    """PUT the log, then look who leads. Raises LedgerRefused/NOT_LEADER; ObjectExists when another history uses that number."""
    log = CondemnLog(
        repository.config.lineage_id, doomed.seq, epoch, {pack.pack_id: pack.condemned for pack in doomed.packs}
    )
    repository.require_writable()
    body = sign_condemn_log(log, repository.secrets.signing_secret_key)
    repository.store.put(condemned_name(doomed.seq, epoch), body)
    require_newest(repository.store, epoch)


def require_newest(store: Store, epoch: int) -> None:
    """Raises LedgerRefused/NOT_LEADER when the bucket knows a later epoch."""
    highest = highest_epoch(store)
    if highest > epoch:
        raise LedgerRefused(
            "NOT_LEADER", f"A controller of epoch {highest} uses this bucket; this one has epoch {epoch} and stops."
        )
