"""What a store really promises, tried in the very bucket that is to be used: called when a repository is added, and by `repo probe`.

Servers accept conditions and checksums and ignore them without a word; versioning or Object Lock can switch a condition off.
"""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from seawall.repository.errors import ObjectExists, ObjectMissing, StoreRefused, StoreUnavailable
from seawall.repository.store.port import SignedPut, SignedTransfer, Store, StoreCapabilities, StoredAs
from seawall.repository.store.signed_headers import ANY_CONTENT, md5_of

T = TypeVar("T")
PROBE_PREFIX = "v1/c/probe/"
_RACERS = 4
_RACES = 8
"""Swift with four racers lets two or more win in two races of three: eight races miss it once in 5,000 probes."""
_TRIAL_BYTES = 4096
_EXPIRES_SECONDS = 60
_BESIDE = ".beside"

_WARNINGS = {
    "create_only": "The store overwrites objects although it is asked to create them only: switch on versioning or Object Lock.",
    "create_only_atomic": "The store lets several writers create the same object at once: only one controller may write to it.",
    "md5_checked": "The store keeps bodies that were damaged on the way: only verification finds them.",
    "signed_condition": "Whoever holds an upload URL can overwrite its object while the URL lives: an agent is not walled in.",
}


class StoreUnfit(StoreRefused):
    """What the store acknowledges is not so: no warning makes up for that, and nothing can be kept in it."""


def probe(store: Store, transfer: SignedTransfer) -> StoreCapabilities:
    """Tries each promise with a few small objects under `v1/c/probe/` and removes them.

    Raises StoreUnfit where the store loses, alters or hides what it took, or shows what it removed; what the store's calls raise.

    The transfer must reach the URLs that the store signs. Pass neither wrapped in retries: a repeated PUT would blur the answer.
    """
    trial = Trial.of(store, transfer, _EXPIRES_SECONDS)
    trial.run(_signed_put_works)
    trial.run(_keeps_and_removes)
    found = StoreCapabilities(
        create_only=trial.run(_refuses_second_put),
        create_only_atomic=all(trial.run(_has_one_winner) for _ in range(_RACES)),
        md5_checked=trial.run(_refuses_wrong_md5),
        signed_condition=trial.run(_refuses_missing_condition),
        bare_put=trial.run(_takes_bare_put),
    )
    return replace(found, warnings=tuple(text for name, text in _WARNINGS.items() if not getattr(found, name)))


@dataclass(frozen=True, slots=True)
class Trial:
    """One object for each question, which is removed once it is answered. What it signs expires after so many seconds."""

    store: Store
    transfer: SignedTransfer
    prefix: str
    expires_seconds: int

    @classmethod
    def of(cls, store: Store, transfer: SignedTransfer, expires_seconds: int) -> "Trial":
        return cls(store, transfer, f"{PROBE_PREFIX}{secrets.token_hex(8)}/", expires_seconds)

    def run(self, question: Callable[["Trial", str], T]) -> T:
        with self.removed_afterwards() as name:
            return question(self, name)

    @contextmanager
    def removed_afterwards(self) -> Iterator[str]:
        name = f"{self.prefix}{secrets.token_hex(8)}"
        try:
            yield name
        finally:
            self.store.delete(name)

    def sign(self, name: str, body: bytes) -> SignedPut:
        return self.store.sign_put(name, len(body), md5_of(body), expires_seconds=self.expires_seconds)


def _signed_put_works(trial: Trial, name: str) -> bool:
    """Else every refusal below would count as a promise kept."""
    if trial.transfer.put(trial.sign(name, b"control"), b"control") is StoredAs.NEW:
        return True
    raise StoreRefused(f"{trial.store.url} says that a name nobody ever used is taken")


def _keeps_and_removes(trial: Trial, name: str) -> bool:
    """What is asked here at once, a backup asks weeks later: then it is too late to choose another store."""
    store, body = trial.store, secrets.token_bytes(_TRIAL_BYTES)
    beside = f"{name}{_BESIDE}"
    with _unfit(store, "it lost an object that it had just taken"):
        store.put(name, body)
        store.put(beside, body[::-1])
        size_bytes, whole = store.head(name).size_bytes, store.get(name)
        parts = store.get_range(name, 7, 100), store.get_suffix(name, 100)
        listed = sorted(info.name for info in store.list(name))
    _require((size_bytes, whole) == (len(body), body), store, "it sends other bytes than it was given")
    _require(parts == (body[7:107], body[-100:]), store, "it sends other bytes of a range than were asked for")
    _require(listed == [name, beside], store, "it does not list what it holds")
    store.delete(beside)
    _require([info.name for info in store.list(name)] == [name], store, "it lists what it has removed")
    with suppress(ObjectMissing):
        store.get(beside)
        raise _unfit_error(store, "it still holds what it has removed")
    return True


@contextmanager
def _unfit(store: Store, what: str) -> Iterator[None]:
    try:
        yield
    except ObjectMissing as error:
        raise _unfit_error(store, what) from error


def _require(holds: bool, store: Store, what: str) -> None:
    if not holds:
        raise _unfit_error(store, what)


def _unfit_error(store: Store, what: str) -> StoreUnfit:
    return StoreUnfit(
        f"{store.url} does not do what it says: {what}. Backups in it would be lost: choose another store"
    )


def _refuses_second_put(trial: Trial, name: str) -> bool:
    trial.store.put(name, b"first")
    try:
        trial.store.put(name, b"second")
    except ObjectExists:
        return trial.store.get(name) == b"first"
    return False


def _has_one_winner(trial: Trial, name: str) -> bool:
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


def _refuses_wrong_md5(trial: Trial, name: str) -> bool:
    target = trial.sign(name, b"announced")
    return not _stores(trial.transfer, target, b"disguised")


def _refuses_missing_condition(trial: Trial, name: str) -> bool:
    if trial.store.url.startswith("file:"):
        return False  # a folder has no server that could refuse
    target = trial.sign(name, b"overwriting")
    bare = {key: value for key, value in target.headers.items() if key != "If-None-Match"}
    return not _stores(trial.transfer, replace(target, headers=bare), b"overwriting")


def _takes_bare_put(trial: Trial, name: str) -> bool:
    """Whether packs may be sent without their MD5: what comes is kept as it was sent, and a second one is refused as ever."""
    body = secrets.token_bytes(_TRIAL_BYTES)
    target = trial.store.sign_put(name, len(body), ANY_CONTENT, expires_seconds=trial.expires_seconds)
    if not _stores(trial.transfer, target, body):
        return False
    return not _stores(trial.transfer, target, body[::-1]) and trial.store.get(name) == body


def _stores(transfer: SignedTransfer, target: SignedPut, body: bytes) -> bool:
    try:
        return transfer.put(target, body) is StoredAs.NEW
    except StoreRefused:
        return False
