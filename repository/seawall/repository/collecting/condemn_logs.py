"""Condemn logs as they lie in the bucket; one is proven to be the one of its name. Read by openings, by trimming and by the check."""

from collections.abc import Iterator

from seawall.repository.bounded import MANIFEST_BYTES, read_bounded
from seawall.repository.errors import IntegrityError
from seawall.repository.format.condemn_log import CondemnLog, open_condemn_log
from seawall.repository.format.layout import CONDEMNED_PREFIX, condemned_name, parse_condemned_name
from seawall.repository.format.open_mark import LogNumber
from seawall.repository.naming import naming
from seawall.repository.repository import OpenRepository
from seawall.repository.store.port import Store


def condemn_log_numbers(store: Store) -> Iterator[LogNumber]:
    """Of those that lie in the bucket. Raises what the store raises."""
    found = (parse_condemned_name(info.name) for info in store.list(CONDEMNED_PREFIX))
    return (number for number in found if number is not None)


def read_condemn_log(repository: OpenRepository, number: LogNumber) -> CondemnLog:
    """`number`: (number, epoch), as in its name.

    Raises IntegrityError (what hangs on it is said), FormatUnsupported, ObjectMissing, StoreRefused, StoreUnavailable.
    """
    name = condemned_name(*number)
    with naming(name):
        body = read_bounded(repository.store, name, MANIFEST_BYTES)
        try:
            log = open_condemn_log(body, repository.config.signing_public_key)
            if (log.seq, log.epoch) != number or log.lineage_id != repository.config.lineage_id:
                raise IntegrityError("a condemn log of another name or repository")
        except IntegrityError as error:
            raise IntegrityError(
                f"{error}. It says which chunks left at number {number[0]}. Points are whole and can be restored or rescued; but a "
                "controller whose database is older than this log cannot tell what it must never name again, and does not open the "
                "repository: give it this object back, from a replica of the bucket or an older version of it, or a newer copy of its "
                "database"
            ) from error
    return log
