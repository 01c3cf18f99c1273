"""At the start: the index as its files say, against the packs as the database says, which is right."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seawall.controller.index.chunks import ChunkIndex, KnownPack


@dataclass(frozen=True, slots=True)
class PackFacts:
    """Of a STORED pack. `withdrawn`: its condemned and bad slots."""

    pack_id: bytes
    generation: int
    verified: bool
    withdrawn: NDArray[np.uint16]


def reconcile(index: ChunkIndex, facts: Iterable[PackFacts]) -> list[bytes]:
    """Verify, withdraw and forget in the index what it missed. Returns the packs whose tables must be read and inserted anew.

    Of these the index knows nothing afterwards; whoever inserts one then withdraws its slots.
    """
    others, missing = set(index.known_packs()), []
    for fact in facts:
        others.discard(fact.pack_id)
        known = index.pack(fact.pack_id)
        if known is None or not _can_follow(known, fact):
            index.forget_pack(fact.pack_id)
            missing.append(fact.pack_id)
            continue
        if fact.verified and not known.verified:
            index.mark_verified(fact.pack_id)
        if len(fresh := _without(fact.withdrawn, known.withdrawn)):
            index.withdraw(fact.pack_id, fresh)
    for pack_id in others:
        index.forget_pack(pack_id)
    return missing


def _can_follow(known: KnownPack, fact: PackFacts) -> bool:
    """Marks are only added: healed slots, another generation or a proof that was taken back need the pack's table."""
    healed = len(_without(known.withdrawn, fact.withdrawn)) > 0
    return known.generation == fact.generation and not healed and (fact.verified or not known.verified)


def _without(some: NDArray[np.integer], others: NDArray[np.integer]) -> NDArray[np.integer]:
    return np.setdiff1d(some, others) if len(some) else some  # most packs have none, and there may be millions
