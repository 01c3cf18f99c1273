"""The leader's loop that writes exports: soon after an operator changed something, now and then for what changes by itself.

First it looks at buckets that could not be looked at when they were opened: where a newer export lies, this database's own would hide it.
Each repository gets its own, so that any bucket is enough. One that cannot be written is tried again at the next look. A leader that was
replaced may still write: its number is smaller than its successor's (`v1/c/export/<epoch>-<number>`), so nobody believes it.
"""

import asyncio
from dataclasses import dataclass
from functools import partial

import structlog
from blake3 import blake3

from seawall.controller.errors import ControllerError, Unavailable
from seawall.controller.records.catalogue import RepositoryRecord
from seawall.controller.records.known import Export, Settled
from seawall.controller.recovering.exporting import document_of, settled, whole
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.repositories.outside import told
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.server.drain import Drain
from seawall.controller.services.blocking import Blocking
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
from seawall.repository.clock import Clock
from seawall.repository.errors import ObjectExists
from seawall.repository.exports import put_export, trim_exports

_log = structlog.get_logger()


@dataclass(slots=True)
class _Written:
    """Of one repository: the document that lies there, by its hash, and the number of the next."""

    document_hash: bytes = b""
    number: int = 1


class Exporter:
    """Belongs to one event loop; what waits for a store runs in `blocking`'s threads."""

    def __init__(
        self,
        store: Store,
        repositories: RepositoryCatalogue,
        lease: LeaderLease,
        blocking: Blocking,
        clock: Clock,
        timings: Timings,
        cluster_id: str,
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._lease = lease
        self._blocking = blocking
        self._clock = clock
        self._timings = timings
        self._cluster_id = cluster_id
        self._nudged = asyncio.Event()
        self._settled: Settled | None = None
        self._whole_at = 0.0
        self._written: dict[str, _Written] = {}
        self._owed: set[str] = set()

    def nudge(self) -> None:
        """An operator changed something."""
        self._nudged.set()

    async def run(self, drain: Drain) -> None:
        """Returns when the drain starts."""
        while not drain.started:
            self._nudged.clear()
            try:
                await self.look()
            except ControllerError as error:
                _log.warning("export.not_written", reason=error.reason, error=str(error))
            except Exception:
                # The top of the loop: the next look compares everything anew.
                _log.exception("export.not_written")
            await drain.first(self._nudged.wait(), self._timings.export_look_seconds)
            # What comes within a moment goes together.
            await drain.first(asyncio.sleep(self._timings.export_settle_seconds), self._timings.export_settle_seconds)

    async def look(self) -> None:
        """Writes where something changed that operators decided, or where it is time for the rest."""
        if not self._lease.held:
            return
        found, records = await self._store.read(self._small)
        now = self._clock.monotonic_seconds()
        if found != self._settled or now - self._whole_at >= self._timings.export_seconds:
            self._owed = {record.id for record in records}
            self._settled, self._whole_at = found, now
        for record in records:
            if await self._settled_there(record) and record.id in self._owed and await self._export(record, found):
                self._owed.discard(record.id)

    def _small(self, transaction: Transaction) -> tuple[Settled, list[RepositoryRecord]]:
        return settled(transaction, self._cluster_id), list(transaction.repositories.repositories())

    async def _settled_there(self, record: RepositoryRecord) -> bool:
        """Whether all that the bucket knows is in the database, and may be hidden. What one repository dies of holds back no other."""
        decisions = self._repositories.decisions

        def look() -> None:
            opened = self._repositories.open(record.id)
            if not decisions.is_settled(record.id):
                with told():
                    decisions.look_again(opened.repository, record)

        if not decisions.is_settled(record.id):
            try:
                await self._blocking.run(look)
            except ControllerError as error:
                _log.warning("export.not_looked_at", repository=record.name, reason=error.reason, error=str(error))
                await self._blocking.run(partial(decisions.missed, record.id, error))
            except Exception as error:
                _log.exception("export.not_looked_at", repository=record.name)
                unforeseen = Unavailable("NOT_LOOKED_AT", f"{type(error).__name__}: {error}")
                await self._blocking.run(partial(decisions.missed, record.id, unforeseen))
        return await self._blocking.run(partial(decisions.may_be_written, record.id))

    async def _export(self, record: RepositoryRecord, found: Settled) -> bool:
        """Whether the bucket holds it now."""

        def write() -> None:
            opened = self._repositories.open(record.id)
            export = self._store.read_now(lambda transaction: whole(transaction, record, found))
            self._write(opened, export)

        try:
            await self._blocking.run(write)
        except ControllerError as error:
            _log.warning("export.not_written", repository=record.name, reason=error.reason, error=str(error))
            return False
        return True

    def _write(self, opened: OpenedRepository, export: Export) -> None:
        """In a thread. Nothing where the bucket's newest says the same."""
        document = document_of(export)
        digest = blake3(document).digest()
        written = self._written.get(opened.record.id)
        if written is None:
            written = _Written(self._repositories.decisions.lies_there(opened.record.id))
            self._written[opened.record.id] = written
        if written.document_hash == digest:
            return
        self._lease.require()
        name = self._put(opened, written, document, digest)
        written.document_hash = digest
        _log.info("export.written", repository=opened.record.name, name=name, bytes=len(document))
        trim_exports(opened.store, name)

    def _put(self, opened: OpenedRepository, written: _Written, document: bytes, digest: bytes) -> str:
        """Under the next free number: one may be taken by a try of before whose answer was lost."""
        while True:
            number, written.number = written.number, written.number + 1
            epoch, now_us = opened.mark.epoch, self._clock.now_us()
            self._repositories.decisions.begin_export(opened.record, (epoch, number), digest, now_us)
            try:
                return put_export(opened.repository, epoch, number, document, now_us)
            except ObjectExists:
                continue
