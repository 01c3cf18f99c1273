"""Writes the next generation of a sparse pack, reads it back, tells the ledger, and only then removes the old one."""

from dataclasses import dataclass

from seawall.repository.collecting.compact import compacted_pack
from seawall.repository.collecting.plan import Report
from seawall.repository.collecting.port import Ledger, PackFacts
from seawall.repository.collecting.removing import remove_generations
from seawall.repository.errors import IntegrityError, ObjectMissing, StoreRefused
from seawall.repository.format.layout import pack_generations_prefix, pack_name, parse_pack_name
from seawall.repository.format.pack import pack_id_of
from seawall.repository.naming import naming
from seawall.repository.repository import OpenRepository
from seawall.repository.steps import OnStep


@dataclass(frozen=True, slots=True)
class Shrinker:
    repository: OpenRepository
    ledger: Ledger
    report: Report
    on_step: OnStep

    def shrink(self, pack: PackFacts) -> int | None:
        """Bytes that came back. None: the pack cannot be read whole, or its old generation does not go; it is reported.

        What is lost of such a pack, verification finds out. Thread-safe.
        """
        self.ledger.may_continue()
        body = self._present(pack)
        if body is None:
            return None
        name = pack_name(pack.tenant, pack.pack_id, pack.generation)
        try:
            with naming(name):
                fresh = compacted_pack(self.repository, body, pack.condemned)
        except IntegrityError as error:
            self.report.keep_back(name, str(error))
            return None
        generation = self.ledger.reserve_generation(pack.pack_id, self._highest(pack))
        self.on_step("reserved")
        for number in range(generation, generation + len(pack.generations)):
            self._write(pack, number, fresh)
        proof = pack_id_of(fresh) if pack.is_written(body) else b""
        self.ledger.compacted(pack.pack_id, generation, len(fresh), proof)
        self.on_step("compacted")
        gone = remove_generations(self.repository.store, pack.tenant, pack.pack_id, pack.generations, self.report)
        self.on_step("old generation removed")
        return (len(body) - len(fresh)) * len(pack.generations) if gone else None

    def _present(self, pack: PackFacts) -> bytes | None:
        """The first generation that can be had."""
        for generation in pack.generations:
            name = pack_name(pack.tenant, pack.pack_id, generation)
            try:
                return self.repository.store.get(name)
            except (ObjectMissing, StoreRefused) as error:
                self.report.keep_back(name, str(error))
        return None

    def _highest(self, pack: PackFacts) -> int:
        """Of the generations in the bucket: a database that was rolled back does not know them all."""
        prefix = pack_generations_prefix(pack.tenant, pack.pack_id)
        names = [parse_pack_name(info.name) for info in self.repository.store.list(prefix)]
        return max((name.generation for name in names if name is not None), default=pack.generation)

    def _write(self, pack: PackFacts, generation: int, body: bytes) -> None:
        """Raises IntegrityError: the store did not keep what it was given."""
        name = pack_name(pack.tenant, pack.pack_id, generation)
        self.repository.store.put(name, body)
        self.on_step("generation written")
        if self.repository.store.get(name) != body:
            raise IntegrityError(f"{name}: read back, it is not what was written a moment ago")
        self.on_step("generation read back")
