"""Generations below the one that counts: what a compaction or a healing did not live to remove, or the store keeps. Called by `check`, and
by `heal`, which removes those that are altered.

Leaves and nodes name them for ever, so readers come to them first. A whole one harms nobody; an altered one costs every reader a second
read. Nothing is recorded: what counts is the later generation.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from seawall.repository.batches import in_batches
from seawall.repository.checking.finding import Findings, Reason
from seawall.repository.checking.pack import NOTHING_SAID, opener_of, read_pack
from seawall.repository.checking.port import Ledger, PackFacts
from seawall.repository.checking.verdict import judge
from seawall.repository.errors import FormatUnsupported, IntegrityError, ObjectMissing, StoreRefused
from seawall.repository.format.layout import PACKS_PREFIX, PackName, pack_name, parse_pack_name
from seawall.repository.repository import OpenRepository


@dataclass(frozen=True, slots=True)
class Altered:
    """`pack`: as the ledger has it, with a later generation."""

    object_name: str
    sentence: str
    pack: PackFacts


def check_older(
    repository: OpenRepository, ledger: Ledger, findings: Findings, read: Callable[[PackFacts], bool]
) -> None:
    """Raises as `altered_older` does."""
    for one in altered_older(repository, ledger, read):
        findings.add(Reason.OLDER_ALTERED, one.object_name, one.sentence)


def altered_older(repository: OpenRepository, ledger: Ledger, read: Callable[[PackFacts], bool]) -> Iterator[Altered]:
    """One listing of all packs. `read`: of which packs older generations are read whole; of others their ends alone, and whole where the
    end is altered.

    Raises StoreUnavailable, BucketMissing, and what the ledger raises.
    """
    for infos in in_batches(repository.store.list(PACKS_PREFIX)):
        ledger.may_continue()
        named = [name for info in infos if (name := parse_pack_name(info.name)) is not None]
        facts = ledger.packs(sorted({name.pack_id for name in named}))
        for name in named:
            pack = facts.get(name.pack_id)
            if pack is not None and name.generation < pack.generation:
                flaw = _flaw(repository, pack, name, read=read(pack))
                if flaw:
                    yield Altered(pack_name(name.tenant, name.pack_id, name.generation), flaw, pack)


def _flaw(repository: OpenRepository, pack: PackFacts, name: PackName, *, read: bool) -> str:
    """Empty: whole, gone by now, or nothing can be said."""
    if not read and _has_a_sound_end(repository, name):
        return ""
    try:
        body = read_pack(repository.store, pack_name(name.tenant, name.pack_id, name.generation))
    except (ObjectMissing, StoreRefused):
        return ""
    except IntegrityError as error:
        return f"it cannot be read: {error}"
    verdict = judge(body, _known_hash(pack, name), pack.meta, opener_of(repository, name.tenant))
    return "" if verdict.reason in NOTHING_SAID else verdict.sentence


def _has_a_sound_end(repository: OpenRepository, name: PackName) -> bool:
    """Also where there is nothing to look at any more. One damaged byte looks like a newer version: the whole pack tells which."""
    try:
        repository.read_tail(name.tenant, name.pack_id, name.generation)
    except (IntegrityError, FormatUnsupported):
        return False
    except (ObjectMissing, StoreRefused):
        return True
    return True


def _known_hash(pack: PackFacts, name: PackName) -> bytes | None:
    """Of the first generation's copies; of a later one nobody keeps it once another counts."""
    return pack.id if name.generation <= int(pack.meta) else None
