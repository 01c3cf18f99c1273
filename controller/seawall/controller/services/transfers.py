"""The data path as an agent may walk it: look up chunks, sign PUTs of packs and hand-ins, sign GETs. Blocking; no wire types here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import structlog

from seawall.controller.admission.breakers import Proofs
from seawall.controller.admission.proofs import Proof
from seawall.controller.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from seawall.controller.index.found import Found
from seawall.controller.publishing.handin import LONGEST_BYTES
from seawall.controller.publishing.publisher import AttemptKey
from seawall.controller.records.catalogue import Pack, PackState
from seawall.controller.records.runs import RunKind
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.opened import META_GENERATIONS, OpenedRepository
from seawall.controller.runs.machine import Execution, fence
from seawall.controller.services.attempts import owned
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
from seawall.repository.clock import Clock
from seawall.repository.errors import FormatUnsupported, IntegrityError, ObjectMissing
from seawall.repository.format.layout import HandInKind, hand_in_name, pack_name
from seawall.repository.generations import stored_generations
from seawall.repository.store.port import SignedPut

MOST_IDS = 4096
MOST_PACKS = 256
WHICHEVER = (1 << 32) - 1
"""No generation has this number: who asks for it wants the present one."""
ID_BYTES = 16
LONGEST_PACK_BYTES = 256 * 1024 * 1024
LONGEST_HAND_IN_BYTES = 128 * 1024 * 1024

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sealed:
    targets: tuple[SignedPut, ...]
    already_stored: bool


@dataclass(frozen=True, slots=True)
class SignedGet:
    pack_id: bytes
    generation: int
    url: str
    expires_us: int


class Transfers:
    """Thread-safe. Each method checks session, owner and fence first."""

    def __init__(self, store: Store, repositories: RepositoryCatalogue, clock: Clock, timings: Timings) -> None:
        self._store = store
        self._repositories = repositories
        self._clock = clock
        self._timings = timings

    def lookup(self, key: AttemptKey, session_id: str, chunk_ids: bytes) -> list[Found]:
        """Which chunks lie where, in this host's own packs or in verified ones. Raises InvalidArgument/TOO_MANY_IDS, BAD_IDS."""
        if len(chunk_ids) % ID_BYTES:
            raise InvalidArgument("BAD_IDS", f"A chunk id has {ID_BYTES} bytes.")
        if len(chunk_ids) > MOST_IDS * ID_BYTES:
            raise InvalidArgument("TOO_MANY_IDS", f"At most {MOST_IDS} chunk ids a call.")
        execution, repository = self._writing(key, session_id)
        found = repository.index.lookup_joined(key.host_id, chunk_ids)
        return self._of_tenant(repository, execution.run.tenant, found)

    def _of_tenant(self, repository: OpenedRepository, tenant: str, found: list[Found]) -> list[Found]:
        """Without what lies in packs of another tenant. Chunks of two tenants have different ids: only who was given the keys of both
        can ask for the other's.
        """
        if not found or repository.tenants <= {tenant}:
            return found
        ids = sorted({pack_id for _, pack_id, *_ in found})
        packs = self._store.read_now(lambda transaction: transaction.packs.packs(repository.record.id, ids))
        own = {pack.id for pack in packs.values() if pack.tenant == tenant}
        return [each for each in found if each[1] in own]

    def seal_pack(
        self, key: AttemptKey, session_id: str, pack_id: bytes, length_bytes: int, md5: bytes, meta: bool
    ) -> Sealed:
        """Reserve the id, sign its PUTs. `md5` is b"" where the grant allowed it.

        Raises AlreadyExists/PACK_FOREIGN, FailedPrecondition/PACK_VOID, InvalidArgument/BAD_PACK.
        """
        if len(pack_id) != ID_BYTES or len(md5) not in (0, 16) or not 0 < length_bytes <= LONGEST_PACK_BYTES:
            raise InvalidArgument("BAD_PACK", "A pack has an id and an MD5 of 16 bytes and at most 256 MiB.")
        execution, repository = self._writing(key, session_id)
        if not md5 and not repository.packs_without_md5:
            raise InvalidArgument("BAD_PACK", "A pack for this repository needs its MD5.")
        tenant = execution.run.tenant
        wanted = Pack(
            pack_id, repository.record.id, tenant, key.host_id, key.attempt_id, PackState.OPEN, meta, length_bytes
        )
        if self._store.write_now(lambda transaction: _reserve(transaction, wanted)):
            return Sealed((), True)
        generations = META_GENERATIONS if meta else META_GENERATIONS[:1]
        names = [pack_name(tenant, pack_id, generation) for generation in generations]
        seconds = self._timings.url_seconds
        targets = [repository.store.sign_put(name, length_bytes, md5, expires_seconds=seconds) for name in names]
        return Sealed(tuple(targets), False)

    def pack_stored(self, key: AttemptKey, session_id: str, pack_id: bytes) -> None:
        """Read the pack's table back, mark it STORED, index it. Repeatable.

        Raises FailedPrecondition/PACK_VOID; NotFound/PACK_NOT_IN_STORE; DataLoss/BAD_TABLE; AlreadyExists/PACK_FOREIGN.
        """
        execution, repository = self._writing(key, session_id)
        pack = self._reserved(repository, key, execution.run.tenant, pack_id)
        if pack.state is PackState.STORED:
            repository.raw_lengths(pack)
            return
        try:
            size_bytes, slots = repository.index_pack(pack)
        except ObjectMissing as error:
            raise NotFound("PACK_NOT_IN_STORE", f"Pack {pack_id.hex()} is not in the store; PUT it first.") from error
        except (IntegrityError, FormatUnsupported) as error:
            raise DataLoss("BAD_TABLE", f"The table of pack {pack_id.hex()} cannot be read back: {error}") from error

        def closure(transaction: Transaction) -> None:
            stored = transaction.packs.mark_stored(repository.record.id, pack_id, size_bytes, slots)
            again = transaction.packs.packs(repository.record.id, [pack_id])[pack_id]
            if not stored and again.state is not PackState.STORED:
                raise FailedPrecondition("PACK_VOID", f"Pack {pack_id.hex()} was given up; make a new one.")
            Proofs(transaction).note(execution, Proof.STORED)

        self._store.write_now(closure)
        _log.debug("pack.stored", pack=pack_id.hex(), attempt_id=key.attempt_id, host=key.host_id, bytes=size_bytes)

    def seal_hand_in(
        self, key: AttemptKey, session_id: str, what: HandInKind, length_bytes: int, md5: bytes, digest: bytes
    ) -> SignedPut:
        """Sign one PUT under v1/a/<attempt>/. Raises InvalidArgument/BAD_HAND_IN."""
        longest = LONGEST_BYTES[what]
        if len(md5) != 16 or len(digest) != 32 or not 0 < length_bytes <= longest:
            raise InvalidArgument(
                "BAD_HAND_IN", f"A {what} has an MD5 of 16 bytes, a BLAKE3 of 32, and at most {longest} bytes."
            )
        _, repository = self._writing(key, session_id)
        name = hand_in_name(key.attempt_id, what, digest)
        return repository.store.sign_put(name, length_bytes, md5, expires_seconds=self._timings.url_seconds)

    def read_urls(self, key: AttemptKey, session_id: str, packs: Sequence[tuple[bytes, int]]) -> list[SignedGet]:
        """Sign GETs of packs that the attempt's point names: the one it restores, or its parent. A generation that does not lie there is
        answered with the present one; the answer says which. A pack is listed once, where another than the present one is asked for.

        Raises InvalidArgument/TOO_MANY_PACKS; PermissionDenied/PACK_NOT_READABLE; StoreUnavailable, StoreRefused.
        """
        if len(packs) > MOST_PACKS:
            raise InvalidArgument("TOO_MANY_PACKS", f"At most {MOST_PACKS} packs a call.")
        execution, repository = self._opened(key, session_id)
        tenant, readable = execution.run.tenant, self._readable(repository, execution)
        seconds = self._timings.url_seconds
        expires_us = self._clock.now_us() + seconds * 1_000_000
        known = self._store.read_now(
            lambda transaction: transaction.packs.packs(repository.record.id, [pack_id for pack_id, _ in packs])
        )

        @cache
        def lying(pack_id: bytes) -> list[int]:
            return stored_generations(repository.store, tenant, pack_id)

        urls = []
        for pack_id, asked in packs:
            if pack_id not in readable:
                raise PermissionDenied(
                    "PACK_NOT_READABLE", f"Attempt {key.attempt_id} may not read pack {pack_id.hex()}."
                )
            generation = _to_sign(known.get(pack_id), asked, lying)
            url = repository.store.sign_get(pack_name(tenant, pack_id, generation), expires_seconds=seconds)
            urls.append(SignedGet(pack_id, generation, url, expires_us))
        return urls

    def _readable(self, repository: OpenedRepository, execution: Execution) -> frozenset[bytes]:
        """Ids of packs."""
        run, attempt = execution.run, execution.attempt
        point_id = run.point_id if run.kind is RunKind.RESTORE else attempt.parent_point_id
        return repository.packs_of_point(run.tenant, run.vm_id, point_id) if point_id else frozenset()

    def _writing(self, key: AttemptKey, session_id: str) -> tuple[Execution, OpenedRepository]:
        """For calls of backups alone."""
        execution, repository = self._opened(key, session_id)
        if execution.run.kind is not RunKind.BACKUP:
            raise PermissionDenied("NOT_YOUR_ATTEMPT", f"Attempt {key.attempt_id} restores; it may not write.")
        return execution, repository

    def _opened(self, key: AttemptKey, session_id: str) -> tuple[Execution, OpenedRepository]:
        execution = self._store.read_now(lambda transaction: owned(transaction, key, session_id))
        fence(execution)
        return execution, self._repositories.open(execution.run.repository_id)

    def _reserved(self, repository: OpenedRepository, key: AttemptKey, tenant: str, pack_id: bytes) -> Pack:
        found = self._store.read_now(lambda transaction: transaction.packs.packs(repository.record.id, [pack_id]))
        pack = found.get(pack_id)
        if pack is None:
            raise NotFound("PACK_NOT_IN_STORE", f"Pack {pack_id.hex()} was never sealed; call SealPack first.")
        _check(pack, key.host_id, tenant)
        return pack


def _to_sign(pack: Pack | None, asked: int, lying: Callable[[bytes], Sequence[int]]) -> int:
    """A generation. `lying`: those of a pack in the store, where the catalogue's word is not enough."""
    if pack is None or asked in pack.generations:
        return asked
    return asked if asked != WHICHEVER and asked in lying(pack.id) else pack.generation


def _reserve(transaction: Transaction, wanted: Pack) -> bool:
    """True: stored already. A later attempt of the same host takes over an OPEN one."""
    known = transaction.packs.packs(wanted.repository_id, [wanted.id]).get(wanted.id)
    if known is None:
        if transaction.packs.void_ids(wanted.repository_id, [wanted.id]):
            raise _given_up(wanted)
        transaction.packs.add_pack(wanted)
        return False
    _check(known, wanted.host_id, wanted.tenant)
    if known.state is PackState.STORED:
        return True
    transaction.packs.reopen(wanted.repository_id, wanted.id, wanted.attempt_id)
    return False


def _check(pack: Pack, host_id: str, tenant: str) -> None:
    if pack.host_id != host_id:
        raise AlreadyExists("PACK_FOREIGN", f"Pack {pack.id.hex()} belongs to another host.")
    if pack.tenant != tenant:
        raise AlreadyExists("PACK_FOREIGN", f"Pack {pack.id.hex()} belongs to another tenant.")
    if pack.state in (PackState.VOID, PackState.DELETED) or pack.condemned:
        raise _given_up(pack)


def _given_up(pack: Pack) -> FailedPrecondition:
    return FailedPrecondition("PACK_VOID", f"Pack {pack.id.hex()} was given up; make a new one.")
