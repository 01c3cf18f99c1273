"""Reads packs whole, a few at a time, and has the ledger record what each is worth. Called by `check`.

Two threads: decrypting, decompressing and hashing release the interpreter's lock. Memory: two packs and one chunk of each.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from threading import Lock, local

from seawall.repository.checking.finding import Findings
from seawall.repository.checking.pack import PackVerdict, opener_of, verify_pack
from seawall.repository.checking.port import Ledger, PackFacts
from seawall.repository.checking.verdict import Opener
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet
from seawall.repository.repository import OpenRepository

THREADS = 2
_TRIES = 3
"""A pack that is compacted while it is read is read again."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A pack that was read. `verdict` None: it was deleted meanwhile."""

    pack: PackFacts
    verdict: PackVerdict | None
    newly_bad: int
    recovered: bool
    """It had bad marks, or was not whole, and is."""


class ContentsCheck:
    """`known_bad`: slots that manifests name and that hold something else, whatever the pack proves of itself."""

    def __init__(
        self,
        repository: OpenRepository,
        ledger: Ledger,
        findings: Findings,
        known_bad: Mapping[bytes, SlotSet],
        *,
        structure_checked: bool,
    ) -> None:
        self._repository = repository
        self._ledger = ledger
        self._findings = findings
        self._known_bad = known_bad
        self._structure_checked = structure_checked
        self._recording = Lock()
        self._openers = local()

    def run(self, packs: Iterable[PackFacts]) -> Iterator[Looked]:
        """In the order in which they are done. Raises StoreUnavailable, BucketMissing, FormatUnsupported, and what the ledger raises."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="check") as pool:
            under_way: set[Future[Looked]] = set()
            try:
                for pack in packs:
                    under_way.add(pool.submit(partial(self._look, pack)))
                    if len(under_way) >= THREADS:
                        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                        yield from [one.result() for one in done]
                while under_way:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield from [one.result() for one in done]
            finally:
                pool.shutdown(cancel_futures=True)

    def _look(self, pack: PackFacts) -> Looked:
        for _ in range(_TRIES):
            verdict = verify_pack(self._repository.store, pack, self._opener(pack.tenant))
            # What collection removes while we read is not lost: ask again before that is said.
            now = pack if verdict.reason is None else self._ledger.packs([pack.id]).get(pack.id)
            if now is None:
                break
            same = (now.generation, now.condemned) == (pack.generation, pack.condemned)
            if same and (verdict.undecided or self._record(pack, verdict)):
                return self._looked(pack, verdict)
            found = self._ledger.packs([pack.id]).get(pack.id)
            if found is None:
                break
            pack = found
        return Looked(pack, None, 0, False)

    def _record(self, pack: PackFacts, verdict: PackVerdict) -> bool:
        bad = self._bad(pack, verdict)
        with self._recording:
            if verdict.reason is None and not len(bad):
                return self._ledger.proven(pack)
            return self._ledger.flawed(pack, bad)

    def _bad(self, pack: PackFacts, verdict: PackVerdict) -> SlotSet:
        """Where the bytes are whole and known to be this pack's, a manifest that says otherwise is false, and its writer must not be able
        to shut other people's chunks. A later generation whose hash nobody knows may be whole and another pack's: only manifests can tell.
        """
        if pack.bytes_hash is not None:
            return verdict.bad if verdict.reason is None else verdict.bad | self._known_bad.get(pack.id, NO_SLOTS)
        bad = verdict.bad | self._known_bad.get(pack.id, NO_SLOTS)
        return bad if self._structure_checked else bad | pack.bad

    def _looked(self, pack: PackFacts, verdict: PackVerdict) -> Looked:
        with self._recording:
            if verdict.reason is not None:
                self._findings.add(verdict.reason, verdict.object_name, verdict.sentence)
        bad = pack.bad if verdict.undecided else self._bad(pack, verdict)
        flawed_before = len(pack.bad) > 0 or (pack.looked_us > 0 and not pack.whole)
        recovered = flawed_before and verdict.reason is None and not len(bad)
        return Looked(pack, verdict, len(bad - pack.bad), recovered)

    def _opener(self, tenant: str) -> Opener:
        openers: dict[str, Opener] = self._openers.__dict__
        if tenant not in openers:
            openers[tenant] = opener_of(self._repository, tenant)
        return openers[tenant]
