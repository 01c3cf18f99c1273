"""The maintenance worker: `python -m seawall.controller.maintenance.worker`, exec'ed by the supervisor beside the controller.

It is told on stdin what to do and with which secrets, reads and writes the bucket, and asks the controller for every fenced step. It holds
no database, and ends when the controller does.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seawall.controller.maintenance.collect_work import collect
from seawall.controller.maintenance.link import Link
from seawall.controller.maintenance.verify_work import run_check, run_heal
from seawall.repository.clock import Clock, SystemClock
from seawall.repository.collecting.errors import CollectionStopped
from seawall.repository.collecting.locking import Locks
from seawall.repository.collecting.port import LedgerRefused
from seawall.repository.errors import RepositoryError, TemporaryError
from seawall.repository.repository import OpenRepository, open_repository
from seawall.repository.standing_back import stand_back
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.retry import RetryingStore, RetryPolicy

NICENESS = 10
"""Backups, guests and whoever asks the controller come first. It is a session of its own, which therefore stands back as well."""


@dataclass(frozen=True, slots=True, repr=False)
class Workshop:
    """What a piece of work is given. `request`: of the job; `settings`: the controller's, by kind."""

    repository: OpenRepository
    link: Link
    clock: Clock
    request: Mapping[str, Any]
    settings: Mapping[str, Any]
    locks: Locks | None
    """Of the repository's store, where it may have any."""


Work = Callable[[Workshop], Mapping[str, Any]]
"""Returns the job's result. Raises RepositoryError."""

WORK: Mapping[str, Work] = {
    "COLLECT": lambda shop: collect(shop.repository, shop.link, shop.clock, shop.request, shop.settings, shop.locks),
    "CHECK": lambda shop: run_check(shop.repository, shop.link, shop.clock, shop.request),
    "HEAL": lambda shop: run_heal(shop.repository, shop.link, shop.clock, shop.request, shop.settings),
}


def main() -> int:
    stand_back(NICENESS, NICENESS)
    clock = SystemClock()
    link = Link(sys.stdin, sys.stdout, clock)
    order = link.first()
    try:
        result = WORK[order["kind"]](_opened(order, link, clock))
    except (CollectionStopped, LedgerRefused) as error:
        link.end(failure={"reason": error.reason, "message": str(error), "temporary": False})
    except RepositoryError as error:
        temporary = isinstance(error, TemporaryError)
        link.end(failure={"reason": _reason(error), "message": str(error), "temporary": temporary})
    else:
        link.end(result=dict(result))
    return 0


def _opened(order: Mapping[str, Any], link: Link, clock: Clock) -> Workshop:
    keys = order["credentials"]
    credentials = S3Credentials(keys["access_key"], keys["secret_key"]) if keys else None
    bare = open_store(order["url"], credentials, clock)
    store = RetryingStore(bare, clock, RetryPolicy())
    secret, pinned = bytes.fromhex(order["wrapper_secret"]), bytes.fromhex(order["signing_public_key"])
    repository = open_repository(store, order["wrapper"], secret, pinned_signing_key=pinned)
    return Workshop(
        repository, link, clock, order["request"], order["settings"], bare if isinstance(bare, Locks) else None
    )


def _reason(error: RepositoryError) -> str:
    """The class's name in the form of reasons: StoreUnavailable is STORE_UNAVAILABLE."""
    name = type(error).__name__
    return "".join(f"_{letter}" if letter.isupper() and at else letter for at, letter in enumerate(name)).upper()


if __name__ == "__main__":
    sys.exit(main())
