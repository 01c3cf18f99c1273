"""What a store really promises, tried in the very bucket that is to be used: called when a repository is added, and by `repo probe`.

Servers accept conditions and checksums and ignore them without a word; versioning or Object Lock can switch a condition off.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from seawall.repository.errors import ObjectExists, StoreRefused, StoreUnavailable
from seawall.repository.store.port import SignedPut, SignedTransfer, Store, StoreCapabilities, StoredAs

PROBE_PREFIX = "v1/c/probe/"
_RACERS = 8
_RACES = 3
_EXPIRES_SECONDS = 60

_WARNINGS = {
    "create_only": "The store overwrites objects although it is asked to create them only: switch on versioning or Object Lock.",
    "create_only_atomic": "The store lets several writers create the same object at once: only one controller may write to it.",
    "md5_checked": "The store keeps bodies that were damaged on the way: only verification finds them.",
    "signed_condition": "Whoever holds an upload URL can overwrite its object while the URL lives: an agent is not walled in.",
}


def probe(store: Store, transfer: SignedTransfer) -> StoreCapabilities:
    """Tries each promise with a few small objects under `v1/c/probe/` and removes them. Raises what the store's calls raise.

    The transfer must reach the URLs that the store signs. Pass neither wrapped in retries: a repeated PUT would blur the answer.
    """
    trial = _Trial(store, transfer, f"{PROBE_PREFIX}{secrets.token_hex(8)}/")
    trial.run(_signed_put_works)
    found = StoreCapabilities(
        create_only=trial.run(_refuses_second_put),
        create_only_atomic=all(trial.run(_has_one_winner) for _ in range(_RACES)),
        md5_checked=trial.run(_refuses_wrong_md5),
        signed_condition=trial.run(_refuses_missing_condition),
    )
    return replace(found, warnings=tuple(text for name, text in _WARNINGS.items() if not getattr(found, name)))


@dataclass(frozen=True, slots=True)
class _Trial:
    store: Store
    transfer: SignedTransfer
    prefix: str

    def run(self, question: Callable[["_Trial", str], bool]) -> bool:
        with self._removed_afterwards() as name:
            return question(self, name)

    @contextmanager
    def _removed_afterwards(self) -> Iterator[str]:
        name = f"{self.prefix}{secrets.token_hex(8)}"
        try:
            yield name
        finally:
            self.store.delete(name)

    def sign(self, name: str, body: bytes) -> SignedPut:
        md5 = hashlib.md5(body, usedforsecurity=False).digest()
        return self.store.sign_put(name, len(body), md5, expires_seconds=_EXPIRES_SECONDS)


def _signed_put_works(trial: _Trial, name: str) -> bool:
    """Else every refusal below would count as a promise kept."""
    if trial.transfer.put(trial.sign(name, b"control"), b"control") is StoredAs.NEW:
        return True
    raise StoreRefused(f"{trial.store.url} says that a name nobody ever used is taken")


def _refuses_second_put(trial: _Trial, name: str) -> bool:
    trial.store.put(name, b"first")
    try:
        trial.store.put(name, b"second")
    except ObjectExists:
        return trial.store.get(name) == b"first"
    return False


def _has_one_winner(trial: _Trial, name: str) -> bool:
    bodies = [b"racer %d" % number for number in range(_RACERS)]
    with ThreadPoolExecutor(_RACERS) as pool:
        won = list(pool.map(lambda body: _creates(trial.store, name, body), bodies))
    winners = [body for body, has_won in zip(bodies, won, strict=True) if has_won]
    return len(winners) == 1 and trial.store.get(name) == winners[0]


def _creates(store: Store, name: str, body: bytes) -> bool:
    """A loser of a race may be told to come back later instead: it did not create the object either."""
    try:
        store.put(name, body)
    except (ObjectExists, StoreUnavailable):
        return False
    return True


def _refuses_wrong_md5(trial: _Trial, name: str) -> bool:
    target = trial.sign(name, b"announced")
    return not _stores(trial.transfer, target, b"disguised")


def _refuses_missing_condition(trial: _Trial, name: str) -> bool:
    if trial.store.url.startswith("file:"):
        return False  # a folder has no server that could refuse
    target = trial.sign(name, b"overwriting")
    bare = {key: value for key, value in target.headers.items() if key != "If-None-Match"}
    return not _stores(trial.transfer, replace(target, headers=bare), b"overwriting")


def _stores(transfer: SignedTransfer, target: SignedPut, body: bytes) -> bool:
    try:
        return transfer.put(target, body) is StoredAs.NEW
    except StoreRefused:
        return False
