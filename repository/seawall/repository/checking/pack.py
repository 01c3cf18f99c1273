"""Reads a pack whole, every copy of it, and judges it. Called by the check, by healing and by the rolling verification."""

import errno
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seawall.repository.bounded import read_bounded
from seawall.repository.checking.dedup_keys import DedupKeys
from seawall.repository.checking.finding import Reason
from seawall.repository.checking.port import PackFacts
from seawall.repository.checking.verdict import CopyVerdict, Opener, judge
from seawall.repository.errors import IntegrityError, ObjectMissing, StoreRefused, StoreUnavailable
from seawall.repository.format.layout import pack_name
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet
from seawall.repository.repository import OpenRepository
from seawall.repository.store.port import Store

LONGEST_PACK_BYTES = 256 * 1024 * 1024
"""What an agent may hand in at most; all of it is in memory while it is judged."""

NOTHING_SAID = (Reason.KEYS_MISSING, Reason.NEEDS_UPGRADE, Reason.OBJECT_UNREADABLE)
"""Reasons that tell nothing of the chunks: none of them becomes bad."""


@dataclass(frozen=True, slots=True)
class PackVerdict:
    """What all copies of a pack together are worth. `reason` None: all of them are whole."""

    reason: Reason | None
    object_name: str
    sentence: str
    bad: SlotSet
    """Expected slots that no copy proves; empty where nothing can be said."""
    table: NDArray[np.void] | None
    bytes_read: int

    @property
    def undecided(self) -> bool:
        """Nothing may be recorded: the pack was not read, or keys are missing."""
        return self.reason in NOTHING_SAID


def opener_of(repository: OpenRepository, tenant: str) -> Opener:
    """For one thread."""
    secrets = repository.keys.of_tenant(tenant)
    return Opener(repository.config.lineage_id, secrets.repository_secret_key, DedupKeys(secrets, tenant))


def verify_pack(store: Store, pack: PackFacts, opener: Opener) -> PackVerdict:
    """Reads every copy; one that is not whole is read twice before that is said.

    Raises StoreUnavailable, BucketMissing.
    """
    copies: list[tuple[str, CopyVerdict]] = []
    bytes_read = 0
    for name in (pack_name(pack.tenant, pack.id, generation) for generation in pack.generations):
        verdict, length = _verified_copy(store, name, pack.bytes_hash, pack.meta, opener)
        if verdict.reason not in (None, Reason.PACK_MISSING):
            verdict, again = _verified_copy(store, name, pack.bytes_hash, pack.meta, opener)
            length += again
        copies.append((name, verdict))
        bytes_read += length
    return _together(pack, copies, bytes_read)


def read_pack(store: Store, name: str) -> bytes:
    """All of it. Raises ObjectMissing, IntegrityError (too long, or a medium that cannot read it), StoreRefused, StoreUnavailable."""
    try:
        return read_bounded(store, name, LONGEST_PACK_BYTES)
    except StoreUnavailable as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO:
            raise IntegrityError(f"{name}: the store's medium cannot read it: {error}") from error
        raise


def _verified_copy(
    store: Store, name: str, bytes_hash: bytes | None, meta: bool, opener: Opener
) -> tuple[CopyVerdict, int]:
    try:
        body = read_pack(store, name)
    except ObjectMissing:
        return CopyVerdict(Reason.PACK_MISSING, "it is not in the store"), 0
    except IntegrityError as error:
        return CopyVerdict(Reason.CHUNKS_DAMAGED, f"it cannot be read: {error}"), 0
    except StoreRefused as error:
        return CopyVerdict(Reason.OBJECT_UNREADABLE, f"the store does not hand it out: {error}"), 0
    return judge(body, bytes_hash, meta, opener), len(body)


def _together(pack: PackFacts, copies: list[tuple[str, CopyVerdict]], bytes_read: int) -> PackVerdict:
    proven = NO_SLOTS
    for _, copy in copies:
        proven = proven | copy.proven
    bad = pack.expected - proven
    whole = [copy for _, copy in copies if copy.reason is None]
    if not pack.expected:  # nothing of it is needed, and its objects may be on their way out
        return PackVerdict(None, copies[0][0], "", NO_SLOTS, whole[0].table if whole else None, bytes_read)
    troubled = [(name, copy) for name, copy in copies if copy.reason is not None]
    if not troubled:
        if not len(bad):
            return PackVerdict(None, copies[0][0], "", bad, whole[0].table, bytes_read)
        lacking = CopyVerdict(Reason.CHUNKS_DAMAGED, f"it lacks {len(bad)} of {len(pack.expected)} chunks")
        troubled = [(copies[0][0], lacking)]
    name, worst = troubled[0]
    reason = _reason(worst, lost=bool(len(bad)), a_copy_is_whole=bool(whole))
    table = whole[0].table if whole else None
    verdict = PackVerdict(reason, name, worst.sentence, bad, table, bytes_read)
    return replace(verdict, bad=NO_SLOTS) if verdict.undecided else verdict


def _reason(worst: CopyVerdict, *, lost: bool, a_copy_is_whole: bool) -> Reason | None:
    if worst.reason in NOTHING_SAID:
        return worst.reason
    if lost:
        return Reason.CHUNKS_DAMAGED if worst.reason is Reason.PACK_DAMAGED else worst.reason
    if not a_copy_is_whole:
        return Reason.PACK_DAMAGED
    return Reason.COPY_MISSING if worst.reason is Reason.PACK_MISSING else Reason.COPY_DAMAGED
