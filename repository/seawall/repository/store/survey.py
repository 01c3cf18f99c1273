"""All that an operator wants to know of a store before it is trusted with backups: its promises, its habits, its clock, its speed.

`seawall repo probe` calls it. The promises are `probe`'s; the rest is measured with a few objects below `v1/c/probe/`, which are removed.
"""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from seawall.repository.clock import Clock
from seawall.repository.errors import StoreRefused
from seawall.repository.store.port import SignedTransfer, Store, StoreCapabilities, StoredAs
from seawall.repository.store.probe import PROBE_PREFIX, Trial, probe

SMALL_BYTES, SMALL_COUNT = 4096, 12
LARGE_BYTES, LARGE_COUNT = 32 * 1024 * 1024, 2
LARGEST_SKEW_SECONDS = 60.0
"""Signed URLs live for minutes: a store's clock that is further away may refuse them, or honour them for longer."""
_EXPIRES_SECONDS = 900
_DAY_US = 86_400_000_000

WOULD_DO = (
    f"put, read, list and remove about 60 objects of up to {SMALL_BYTES} bytes below {PROBE_PREFIX}",
    f"put and read {LARGE_COUNT} objects of {LARGE_BYTES >> 20} MiB there, and remove them",
    "ask whether the bucket keeps versions and locks what is put into it",
    "begin one upload in parts and give it up",
    "remove what a probe that was cut off over a day ago has left there",
)
"""For a dry run."""


class Bucket(Protocol):
    """What only a bucket can be asked. Each raises as `Store.head` does."""

    def versioned(self) -> bool: ...

    def lock_period_us(self) -> int: ...

    def takes_parts(self, name: str) -> bool:
        """Whether an upload in parts may be begun. It is given up at once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`good`: as Seawall wants it. `says`: what it is, and what follows where it is not good."""

    question: str
    good: bool
    says: str


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one kind of request, one after the other. Milliseconds."""

    request: str
    size_bytes: int
    count: int
    median_ms: float
    slowest_ms: float

    @property
    def megabytes_per_second(self) -> float:
        return self.size_bytes / 1000 / max(self.median_ms, 0.001)


@dataclass(frozen=True, slots=True)
class Survey:
    capabilities: StoreCapabilities
    answers: tuple[Answer, ...]
    speeds: tuple[Speed, ...]


def survey(store: Store, transfer: SignedTransfer, clock: Clock, bucket: Bucket | None) -> Survey:
    """`bucket`: None for a folder. Pass nothing that is wrapped in retries.

    Raises StoreUnfit where the store loses or alters what it took; what the store's calls raise.
    """
    _remove_leftovers(store, clock)
    found = probe(store, transfer)
    trial = Trial.of(store, transfer, _EXPIRES_SECONDS)
    answers = [
        *_promises(found),
        trial.run(_lost_answer),
        trial.run(lambda _, name: _clocks_agree(store, clock, name)),
    ]
    if bucket is not None:
        answers += [_versions(bucket), _locks(bucket), trial.run(lambda _, name: _parts(bucket, name))]
    speeds = [
        *_speeds(trial, clock, SMALL_BYTES, SMALL_COUNT),
        *_speeds(trial, clock, LARGE_BYTES, LARGE_COUNT),
    ]
    return Survey(found, tuple(answers), tuple(speeds))


def _remove_leftovers(store: Store, clock: Clock) -> None:
    """Of a probe whose controller was killed. What is younger may be another's that runs now."""
    old_us = clock.now_us() - _DAY_US
    for name in [info.name for info in store.list(PROBE_PREFIX) if info.modified_us < old_us]:
        with suppress(StoreRefused):
            store.delete(name)


def _promises(found: StoreCapabilities) -> Iterator[Answer]:
    for question, good, fine, bad in (
        (
            "conditional_put",
            found.create_only,
            "An object that exists is not overwritten by one that is to be created.",
            "It overwrites objects although it is asked to create them only: two controllers, or a late request of a dead one, can "
            "replace a backup's objects. Switch on versioning or Object Lock, or choose another store.",
        ),
        (
            "conditional_put_atomic",
            found.create_only_atomic,
            "Of several writers that create one object at once exactly one wins.",
            "Several writers may create one object at once. Only one controller may ever write to it, and hosts do not share packs.",
        ),
        (
            "checks_content_md5",
            found.md5_checked,
            "A body that is not what its Content-MD5 says is refused.",
            "It keeps bodies that were damaged on the way: they are found when packs are read back, not when they are stored.",
        ),
        (
            "signed_condition",
            found.signed_condition,
            "Whoever holds an upload URL cannot overwrite its object.",
            "Whoever holds an upload URL can overwrite its object while the URL lives. Hosts do not share packs.",
        ),
        (
            "bare_put",
            found.bare_put,
            "Packs may go without their MD5: over https:// and into folders that spares an eighth of a backup's work.",
            "A PUT without Content-MD5 is refused, as buckets with Object Lock do: every pack is sent with it.",
        ),
    ):
        yield Answer(question, good, fine if good else bad)


def _speeds(trial: Trial, clock: Clock, size_bytes: int, count: int) -> tuple[Speed, Speed]:
    """Of signed PUTs and GETs, as agents send them."""
    put_ms, get_ms = [], []
    for _ in range(count):
        body = secrets.token_bytes(size_bytes)
        with trial.removed_afterwards() as name:
            target = trial.sign(name, body)
            url = trial.store.sign_get(name, expires_seconds=trial.expires_seconds)
            began = clock.monotonic_seconds()
            trial.transfer.put(target, body)
            stored = clock.monotonic_seconds()
            got = trial.transfer.get(url)
            ended = clock.monotonic_seconds()
            if got != body:
                raise StoreRefused(f"{trial.store.url} sends other bytes than it was given")
        put_ms.append(1000 * (stored - began))
        get_ms.append(1000 * (ended - stored))
    return (
        Speed("PUT", size_bytes, count, median(put_ms), max(put_ms)),
        Speed("GET", size_bytes, count, median(get_ms), max(get_ms)),
    )


def _lost_answer(trial: Trial, name: str) -> Answer:
    """What a writer meets that sends a pack again because the first answer never came."""
    body = secrets.token_bytes(SMALL_BYTES)
    target = trial.sign(name, body)
    trial.transfer.put(target, body)
    try:
        again = trial.transfer.put(target, body)
    except StoreRefused as error:
        return Answer(
            "lost_answer", False, f"A PUT that is repeated after a lost answer is refused ({error}): the backup fails."
        )
    if again is StoredAs.EXISTS:
        return Answer(
            "lost_answer", True, "A PUT that is repeated after a lost answer is told that the object is there."
        )
    return Answer(
        "lost_answer",
        False,
        "A PUT that is repeated after a lost answer stores the object again: harmless, the bytes are the same.",
    )


def _clocks_agree(store: Store, clock: Clock, name: str) -> Answer:
    before_us = clock.now_us()
    store.put(name, b"what time is it?")
    after_us = clock.now_us()
    stored_us = store.head(name).modified_us
    # A store tells whole seconds, cut off.
    skew = max(0, before_us - stored_us - 1_000_000, stored_us - after_us) / 1_000_000
    if skew <= LARGEST_SKEW_SECONDS:
        return Answer("clock", True, f"Its clock and the controller's agree within {skew + 1:.0f} s.")
    ahead = "ahead of" if stored_us > after_us else "behind"
    return Answer(
        "clock",
        False,
        f"Its clock is {skew:.0f} s {ahead} the controller's: signed URLs may be refused. Set both by NTP.",
    )


def _versions(bucket: Bucket) -> Answer:
    try:
        versioned = bucket.versioned()
    except StoreRefused:
        return Answer("versioning", True, "Unknown: these keys may not ask whether the bucket keeps versions.")
    if versioned:
        return Answer(
            "versioning",
            True,
            "The bucket keeps versions: what is deleted takes room until a lifecycle rule removes old versions.",
        )
    return Answer("versioning", True, "The bucket keeps no versions: what is deleted is gone.")


def _locks(bucket: Bucket) -> Answer:
    try:
        days = bucket.lock_period_us() // _DAY_US
    except StoreRefused:
        return Answer(
            "object_lock", True, "Unknown: these keys may not ask whether the bucket locks what is put into it."
        )
    if days:
        return Answer(
            "object_lock",
            True,
            f"The bucket locks what is put into it for {days} days; collections extend the locks of what is needed.",
        )
    return Answer("object_lock", True, "The bucket locks nothing: whoever has its keys can delete backups.")


def _parts(bucket: Bucket, name: str) -> Answer:
    if bucket.takes_parts(name):
        return Answer(
            "multipart", True, "It takes uploads in parts. Seawall does not use them: each object is one PUT."
        )
    return Answer("multipart", True, "It takes no uploads in parts. Seawall does not use them: each object is one PUT.")
