"""`seawall controller recover`: the catalogue of a controller whose database is gone, from one bucket. Blocking.

Steps, each of which may be repeated after a crash: open with the recovery key → a key object for this controller's own key → the
repository's row, hosts, VMs → announce this controller as the newest leader (from here on whoever led before writes no more) → points →
holds, limits, settings and, last, policies → opened as at every start.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import structlog
from blake3 import blake3

from seawall.controller.errors import AlreadyExists, ControllerError, FailedPrecondition
from seawall.controller.records.catalogue import RepositoryRecord, Wrapper
from seawall.controller.records.known import Export, KnownPoint
from seawall.controller.records.leadership import Leader
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.recovering.adoption import Adopted, Adoption
from seawall.controller.recovering.exporting import export_of
from seawall.controller.recovering.merging import merged
from seawall.controller.recovering.packing import unpack_points
from seawall.controller.recovering.putting_back import (
    PutBack,
    put_back_decisions,
    put_back_hosts,
    put_back_policies,
)
from seawall.controller.recovering.users import put_back_users
from seawall.controller.repositories.add import capabilities_of, probed
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.credentials import seal_credentials
from seawall.controller.repositories.outside import told
from seawall.controller.repositories.readers import store_readers
from seawall.controller.repositories.replay import doomed_slots, later_logs
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store as Database
from seawall.controller.store.transaction import Transaction
from seawall.repository.batches import in_batches
from seawall.repository.bounded import SMALL_OBJECT_BYTES, read_bounded
from seawall.repository.clock import Clock
from seawall.repository.collecting.condemn_logs import condemn_log_numbers
from seawall.repository.collecting.trimming import trimmed_to
from seawall.repository.crypto.sealing import public_key_of, recipient_id
from seawall.repository.errors import ForeignRepository, FormatUnsupported, IntegrityError, ObjectMissing
from seawall.repository.exports import FoundExport, newest_export
from seawall.repository.forgetting.leaders import NOBODY, newest_leader
from seawall.repository.forgetting.standing import Standing
from seawall.repository.format.keyfile import CONTROLLER_WRAPPER, RECOVERY_WRAPPER, key_names
from seawall.repository.format.layout import (
    MANIFESTS_PREFIX,
    TOMBSTONES_PREFIX,
    PointName,
    key_name,
    parse_export_name,
    parse_point_name,
)
from seawall.repository.keyring import write_keys
from seawall.repository.recovery_sheet import RecoveryMaterial
from seawall.repository.repository import OpenRepository, open_repository
from seawall.repository.store.location import S3Credentials

FALLBACK_NAME = "main"
_NAMED = 5

_log = structlog.get_logger()

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator asks for. `name` "": the one that the export says, else "main"."""

    url: str
    credentials: S3Credentials | None
    material: RecoveryMaterial
    name: str = ""
    accept_unsafe_store: bool = False


@dataclass(slots=True)
class Recovered:
    """What was found, and what became of it. `export`: None where none opens."""

    url: str
    name: str = ""
    repository_id: str = ""
    lineage_id: str = ""
    points_found: int = 0
    vms_found: int = 0
    export: FoundExport | None = None
    leader_before: str = ""
    notes: list[str] = field(default_factory=list)
    adopted: Adopted = field(default_factory=Adopted)
    put_back: PutBack = field(default_factory=PutBack)


class Recovery:
    """One repository's. Whoever calls holds the lead, and keeps it."""

    def __init__(
        self,
        database: Database,
        catalogue: RepositoryCatalogue,
        lease: LeaderLease,
        cluster_id: str,
        clock: Clock,
        on_step: OnStep = lambda step: None,
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._lease = lease
        self._cluster_id = cluster_id
        self._clock = clock
        self._on_step = on_step

    def look(self, order: Order) -> Recovered:
        """What a recovery would find. Reads the bucket, changes nothing anywhere.

        Raises FailedPrecondition/FOREIGN_REPOSITORY (also another key), BUCKET_*; DataLoss; Unavailable.
        """
        with told():
            found, _, _ = self._found(self._opened(order), order)
            return found

    def run(self, order: Order, progress: Callable[[Recovered], None]) -> Recovered:
        """`progress` is called now and then. Raises as `look` does; AlreadyExists/NAME_TAKEN; FailedPrecondition/STORE_UNSAFE, NOT_NEW."""
        with told():
            repository = self._opened(order)
            found, export, names = self._found(repository, order)
            record = self._row(repository, order, found, export)
            self._on_step("row")
            self._put_back_hosts(export, found)
            self._on_step("hosts")
            self._catalogue.announce(repository)
            self._on_step("announced")
            facts = unpack_points(export.points) if export else {}
            self._adopt(repository, record.id, facts, names, found, progress)
            self._on_step("points")
            self._put_back_decisions(self._exports(record, export, found), found)
            self._note(record, found.export)
            self._on_step("decisions")
            self._catalogue.open(record.id)
        _log.info("repository.recovered", repository=record.name, points=found.adopted.points)
        return found

    def _opened(self, order: Order) -> OpenRepository:
        """By the recovery key. Raises ForeignRepository when it is not the sheet's repository."""
        sheet = order.material.sheet
        store = self._catalogue.store_of(order.url, order.credentials)
        pin = sheet.signing_public_key if sheet else None
        repository = open_repository(store, RECOVERY_WRAPPER, order.material.secret_key, pinned_signing_key=pin)
        if sheet is not None and repository.config.lineage_id != sheet.lineage_id:
            raise ForeignRepository(f"{store.url} has another lineage than the recovery sheet is of")
        repository.require_writable()
        return repository

    def _found(self, repository: OpenRepository, order: Order) -> tuple[Recovered, Export | None, list[PointName]]:
        standing = repository.standing()
        names, void = committed_points(repository, standing)
        newest, leader = newest_export(repository), newest_leader(repository.store)
        found = Recovered(
            repository.store.url,
            lineage_id=repository.config.lineage_id.hex(),
            points_found=len(names),
            vms_found=len({name.vm_id for name in names}),
            export=newest,
            leader_before="" if leader == NOBODY else str(leader.epoch),
        )
        if order.material.sheet is None:
            found.notes.append(
                "The key file is no whole sheet: whoever can write to the bucket could have put a repository of his own there."
            )
        found.notes += [f"An export was passed over: {why}." for why in newest.passed_over] if newest else []
        found.notes += [standing.damage] if standing.damage else []
        found.notes += [_left_out(void)] if void else []
        export = export_of(newest.document) if newest else None
        found.name = order.name or (export.repository_name if export else FALLBACK_NAME)
        return found, export, names

    def _row(
        self, repository: OpenRepository, order: Order, found: Recovered, export: Export | None
    ) -> RepositoryRecord:
        """The repository's row, made or met, and the key object by which this controller opens it without the recovery key."""
        records = self._database.read_now(lambda transaction: list(transaction.repositories.repositories()))
        met = next((each for each in records if each.lineage_hex == found.lineage_id), None)
        if met is None:
            self._require_free(records, found)
            capabilities = capabilities_of(
                probed(
                    self._catalogue.bare_store_of(order.url, order.credentials), order.url, order.accept_unsafe_store
                )
            )
            repository_id = export.repository_id if export else uuid7(self._clock)
            met = RepositoryRecord(
                id=repository_id,
                name=found.name,
                url=repository.store.url,
                lineage_hex=found.lineage_id,
                signing_public_key_hex=repository.config.signing_public_key.hex(),
                chunk_nominal_bytes=repository.config.chunk_nominal_bytes,
                wrappers=tuple(self._wrappers(repository, order)),
                capabilities=capabilities,
                secret_id=repository_id if order.credentials else "",
                created_us=self._clock.now_us(),
            )
            self._remember(met, order.credentials)
        found.repository_id, found.name = met.id, met.name
        return met

    def _require_free(self, records: Sequence[RepositoryRecord], found: Recovered) -> None:
        """Raises AlreadyExists/NAME_TAKEN; FailedPrecondition/NOT_NEW."""
        if any(each.name == found.name for each in records):
            raise AlreadyExists(
                "NAME_TAKEN", f"There is a repository named {found.name!r} already; give this one another: --name."
            )
        hosts = self._database.read_now(lambda transaction: transaction.fleet.hosts(limit=1))
        if not records and hosts:
            raise FailedPrecondition(
                "NOT_NEW",
                "Hosts have joined this controller, and it has no repository. Recover into a new one: `seawall controller init` "
                "with another --state-dir, or this one with its database moved away.",
            )

    def _wrappers(self, repository: OpenRepository, order: Order) -> Iterator[Wrapper]:
        """Raises ForeignRepository when the place of our key object is taken."""
        ours = public_key_of(self._catalogue.keys.wrapper_secret.reveal())
        name = wrapper_for(repository, ours)
        write_keys(repository.store, repository.config.lineage_id, {name: ours}, repository.secrets)
        recovery = public_key_of(order.material.secret_key)
        for epoch in sorted({epoch for _, epoch in repository.secrets.dedup_keys}):
            yield Wrapper(name, epoch, ours.hex())
            yield Wrapper(RECOVERY_WRAPPER, epoch, recovery.hex())

    def _remember(self, record: RepositoryRecord, credentials: S3Credentials | None) -> None:
        sealed = seal_credentials(self._catalogue.keys.box, record.id, credentials) if credentials else b""
        leader = self._lease.current

        def closure(transaction: Transaction) -> None:
            transaction.leadership.check(leader)
            transaction.repositories.add_repository(record)
            if credentials:
                transaction.repositories.add_secret(record.secret_id, sealed)

        self._database.write_now(closure)

    def _put_back_hosts(self, export: Export | None, found: Recovered) -> None:
        leader = self._lease.current

        def closure(transaction: Transaction) -> PutBack:
            done = PutBack()
            transaction.leadership.check(leader)
            if export is not None:
                put_back_hosts(transaction, export, self._cluster_id, done)
            return done

        found.put_back = self._database.write_now(closure)

    def _adopt(
        self,
        repository: OpenRepository,
        repository_id: str,
        facts: dict[str, KnownPoint],
        names: Sequence[PointName],
        found: Recovered,
        progress: Callable[[Recovered], None],
    ) -> None:
        """What logs said is taken over with the packs' rows: later openings find none that this database has not reached."""
        standing, there = repository.standing(), condemn_log_numbers(repository.store)
        logs = later_logs(self._database, repository, repository_id, standing, there, from_the_first=True)
        reached = max([trimmed_to(repository.store), *(later.log.seq for later in logs)])
        leader = self._lease.current

        def closure(transaction: Transaction) -> None:
            transaction.leadership.check(leader)
            transaction.leadership.raise_publications(repository_id, reached)

        self._database.write_now(closure)
        adoption = Adoption(
            self._database, self._lease, self._clock, repository, repository_id, facts, doomed_slots(logs)
        )
        found.adopted = adoption.adopted

        def after_batch(_: Adopted) -> None:
            progress(found)
            self._on_step("batch")

        adoption.run(names, after_batch)

    def _exports(self, record: RepositoryRecord, export: Export | None, found: Recovered) -> list[Export]:
        """This bucket's, and those of the repositories that were recovered before: what one of them knows of another is put back now that
        both are there. The newest first, but last those that this database wrote: what it has lost, they do not know.
        """
        read = [(True, _age(found.export), export)] if found.export and export else []
        for other in self._database.read_now(lambda transaction: list(transaction.repositories.repositories())):
            if other.id == record.id:
                continue
            try:
                with told():
                    newest = newest_export(self._catalogue.reader_of(other))
                    if newest:
                        before = newest.exported_us < other.created_us
                        read.append((before, _age(newest), export_of(newest.document)))
            except ControllerError as error:
                found.notes.append(
                    f"The export of {other.name} could not be read ({error}): what it alone knows comes back when it is recovered again."
                )
        return [export for *_, export in sorted(read, key=lambda each: each[:2], reverse=True)]

    def _put_back_decisions(self, exports: Sequence[Export], found: Recovered) -> None:
        """Holds before policies, and both at once: no retention ever judges points whose holds are missing."""
        if not exports:
            return
        leader, before, settled = self._lease.current, found.put_back, merged([each.settled for each in exports])

        def closure(transaction: Transaction) -> PutBack:
            done = replace(before, left_out=[], policies=[], policies_waiting={}, limits=0, settings=0, holds=0)
            transaction.leadership.check(leader)
            put_back_decisions(transaction, settled, self._clock.now_us(), done)
            put_back_policies(transaction, settled, self._clock.now_us(), done)
            done.users = put_back_users(transaction, settled.users).there
            return done

        found.put_back = self._database.write_now(closure)
        policies = self._database.read_now(
            lambda transaction: {each.id for each in transaction.policies.policies(deleted=True)}
        )
        facts = (each for export in exports for each in unpack_points(export.points).values())
        for batch in in_batches(each for each in facts if each.policy_id in policies):
            self._database.write_now(_giving(leader, batch))

    def _note(self, record: RepositoryRecord, newest: FoundExport | None) -> None:
        """The database knows it now: opening has nothing to bring back."""
        if newest is not None:
            epoch, number = parse_export_name(newest.name) or (0, 0)
            digest = blake3(newest.document).digest()
            self._catalogue.decisions.begin_export(record, (epoch, number), digest, newest.exported_us)


def _age(export: FoundExport) -> tuple[int, int]:
    """Grows with time over all buckets: (the epoch of the leader that wrote it, its time); numbers count in one bucket alone."""
    epoch, _ = parse_export_name(export.name) or (0, 0)
    return epoch, export.exported_us


def _giving(leader: Leader, facts: Sequence[KnownPoint]) -> Callable[[Transaction], None]:
    def closure(transaction: Transaction) -> None:
        transaction.leadership.check(leader)
        for each in facts:
            transaction.known.give_policy(each.id, each.policy_id, each.nominal_us)

    return closure


def committed_points(repository: OpenRepository, standing: Standing) -> tuple[list[PointName], list[PointName]]:
    """(Those that count, those that are void), of all tenants, sorted by tenant, VM and point."""
    named = (parse_point_name(info.name) for info in repository.store.list(MANIFESTS_PREFIX))
    lying = {name for name in named if name is not None}
    names = sorted(lying - repository.forgotten(lying, standing, TOMBSTONES_PREFIX))
    with store_readers("recover") as readers:
        counts = list(readers.map(lambda name: repository.counts(name, standing), names))
    void = [name for name, does in zip(names, counts, strict=True) if not does]
    return [name for name, does in zip(names, counts, strict=True) if does], void


def _left_out(void: Sequence[PointName]) -> str:
    some = ", ".join(name.point_id for name in void[:_NAMED])
    return (
        f"Left out, {len(void)} in all: {some}. A controller that had been replaced wrote them, and nobody was told that they exist. "
        "`seawall rescue --include-void` restores what of them can still be read."
    )


def wrapper_for(repository: OpenRepository, public_key: bytes) -> str:
    """Under which name this controller's key objects stand, or will: the first controller's, where the key is that one's."""
    ours = recipient_id(public_key)
    tenant, epoch = min(repository.secrets.dedup_keys)
    try:
        first = key_names(
            read_bounded(repository.store, key_name(tenant, epoch, CONTROLLER_WRAPPER), SMALL_OBJECT_BYTES)
        )
    except (ObjectMissing, IntegrityError, FormatUnsupported):
        first = None
    return CONTROLLER_WRAPPER if first and first.recipient == ours else f"{CONTROLLER_WRAPPER}-{ours.hex()}"
