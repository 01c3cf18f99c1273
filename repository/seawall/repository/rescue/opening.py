"""Opens a repository for rescue: the store and the recovery key are all there is. Called by the command line."""

from dataclasses import dataclass, replace

from seawall.repository.clock import Clock
from seawall.repository.errors import ForeignRepository, IntegrityError, StoreRefused, StoreUnavailable
from seawall.repository.forgetting.standing import ALL_COUNTS, Standing
from seawall.repository.format.keyfile import RECOVERY_WRAPPER
from seawall.repository.format.layout import PointName, key_name
from seawall.repository.format.root import Root
from seawall.repository.format.root_object import Statement
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.recovery_sheet import RecoveryMaterial
from seawall.repository.repository import OpenRepository, open_repository
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import FolderLocation, S3Credentials, parse_location
from seawall.repository.store.port import Store
from seawall.repository.store.retry import RetryingStore, RetryPolicy

OPENING_RETRIES = RetryPolicy(deadline_seconds=12.0, last_bound_seconds=3.0)
"""Somebody waits before the terminal, and a wrong address is as likely as a short outage."""

FOLDER_RETRIES = RetryPolicy(deadline_seconds=5.0, last_bound_seconds=1.0)
"""A medium that cannot read a place will not in two minutes either."""

_NO_PIN = (
    "The key file carries no signing key: whoever can write to the repository could have put points of his own into it. "
    "Use the whole recovery sheet if you have it."
)


@dataclass(frozen=True, slots=True)
class RescueRepository:
    """A repository opened with nothing but its recovery key. `notes`: sentences for the operator.

    `ignore_tombstones`: points that were forgotten count as long as their manifest lies there. `include_void`: so do those that a
    controller wrote after it had been replaced (`forgetting/standing.py`).
    """

    repository: OpenRepository
    pinned: bool
    notes: tuple[str, ...]
    standing: Standing
    ignore_tombstones: bool = False
    include_void: bool = False

    @property
    def url(self) -> str:
        return self.repository.store.url

    def point(self, name: PointName) -> "RescuePoint":
        """A committed point, its signature and root proven.

        Raises ObjectMissing, IntegrityError, FormatUnsupported, WrongKey, StoreUnavailable, StoreRefused.
        """
        statement, root_object = self.repository.read_manifest(name.tenant, name.vm_id, name.point_id)
        root = self.repository.open_root(root_object)
        try:
            k_dedup = self.repository.k_dedup(name.tenant, root.key_epoch)
        except KeyError as error:
            missing = key_name(name.tenant, root.key_epoch, RECOVERY_WRAPPER)
            raise IntegrityError(
                f"{missing}: missing: without the keys of its epoch this point cannot be read"
            ) from error
        packs = StorePackReader(self.repository.store, name.tenant)
        return RescuePoint(statement, root, PointReader(root, root.lineage_id, k_dedup, packs))


@dataclass(frozen=True, slots=True)
class RescuePoint:
    """One point, ready to be read."""

    statement: Statement
    root: Root
    reader: PointReader


@dataclass(frozen=True, slots=True)
class RescueStores:
    """The same store, twice: `opening` gives up soon, `reading` waits out an outage of two minutes in the middle of a restore."""

    opening: Store
    reading: Store


def open_rescue_stores(url: str, credentials: S3Credentials | None, clock: Clock) -> RescueStores:
    """Asks the store nothing yet. Raises LocationInvalid, StoreRefused (no credentials)."""
    store = open_store(url, credentials, clock)
    patient = FOLDER_RETRIES if isinstance(parse_location(url), FolderLocation) else RetryPolicy()
    return RescueStores(RetryingStore(store, clock, OPENING_RETRIES), RetryingStore(store, clock, patient))


def open_for_rescue(store: Store, material: RecoveryMaterial, *, reading: Store | None = None) -> RescueRepository:
    """`reading`: what points are read through, if not what the repository is opened through.

    Raises what `open_repository` does; ForeignRepository when it is not the sheet's.
    """
    pin = material.sheet.signing_public_key if material.sheet else None
    repository = open_repository(store, RECOVERY_WRAPPER, material.secret_key, pinned_signing_key=pin)
    if material.sheet is not None and repository.config.lineage_id != material.sheet.lineage_id:
        raise ForeignRepository(
            f"{store.url} has lineage {repository.config.lineage_id.hex()}; the sheet is of {material.sheet.lineage_id.hex()}"
        )
    notes = [] if pin else [_NO_PIN]
    notes += [f"Damaged: {why}" for why in repository.secrets.unopened.values()]
    standing = _standing(repository)
    notes += [f"Damaged: {standing.damage}"] if standing.damage else []
    return RescueRepository(replace(repository, store=reading or store), pin is not None, tuple(notes), standing)


def _standing(repository: OpenRepository) -> Standing:
    """Open marks that the store will not give out, or not now, are damaged to a rescue: they must not cost the points."""
    try:
        return repository.standing()
    except (StoreRefused, StoreUnavailable) as error:
        return Standing(damage=f"the last open mark cannot be read: {error}. {ALL_COUNTS}")
