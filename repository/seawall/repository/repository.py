"""A repository, opened: its config, its secrets and its store in one place. Used by the controller, the maintenance worker and rescue.

`create_repository` and `open_repository` are the two ways to one. Agents never hold an OpenRepository.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seawall.repository.bounded import MANIFEST_BYTES, REFMAP_BYTES, SMALL_OBJECT_BYTES, read_bounded
from seawall.repository.crypto.keys import RepositorySecrets
from seawall.repository.errors import (
    ForeignRepository,
    FormatUnsupported,
    IntegrityError,
    ObjectExists,
    ObjectMissing,
    RepositoryError,
    StoreRefused,
)
from seawall.repository.forgetting.standing import Standing, Unreadable, read_standing
from seawall.repository.forgetting.tombstones import lying_tombstones, read_tombstone
from seawall.repository.format.config import (
    RepositoryConfig,
    encode_config,
    new_config,
    proven_config,
    require_readable,
)
from seawall.repository.format.layout import (
    CONFIG_COPIES,
    FORMAT_PREFIX,
    KEYS_PREFIX,
    PointName,
    config_name,
    manifest_name,
    manifests_prefix,
    pack_name,
    parse_point_name,
    refmap_name,
    tombstones_prefix,
)
from seawall.repository.format.manifest import Root
from seawall.repository.format.pack import PackTail, parse_tail
from seawall.repository.format.refmap import Refmap, decode_refmap
from seawall.repository.format.root_object import (
    Statement,
    object_hash,
    open_manifest,
    open_root,
    root_names,
    sign_manifest,
    unseal_data_key,
)
from seawall.repository.format.tombstone import Burial, open_tombstone, sign_tombstone
from seawall.repository.held_keys import HeldKeys, Place
from seawall.repository.keyring import Damaged, read_keys, write_keys
from seawall.repository.naming import naming
from seawall.repository.store.port import Store
from seawall.repository.store.probe import PROBE_PREFIX

TAIL_READ_BYTES = 64 * 1024
"""A first guess at the end of a pack: the table of most packs is in it."""

_RECIPIENTS_LEAST = 2


@dataclass(frozen=True, slots=True)
class OpenRepository:
    """Thread-safe as its store is."""

    store: Store
    config: RepositoryConfig
    keys: HeldKeys

    @property
    def secrets(self) -> RepositorySecrets:
        return self.keys.secrets

    def k_dedup(self, tenant: str, epoch: int) -> bytes:
        """Of a tenant that came since the repository was opened too. Raises KeyError (no such epoch), IntegrityError, StoreUnavailable."""
        return self.keys.k_dedup(tenant, epoch)

    def epoch_to_write(
        self, tenant: str, recipients: Mapping[str, bytes], damaged: Damaged = lambda name, error: None
    ) -> int:
        """The key epoch under which a tenant's next point is written; the first is made here, for `recipients` (`HeldKeys`)."""
        self.require_writable()
        return self.keys.epoch_to_write(tenant, recipients, damaged)

    def read_table(self, tenant: str, pack_id: bytes, generation: int) -> NDArray[np.void]:
        """The table of contents (TABLE_ENTRY) of a stored pack.

        Raises ObjectMissing, IntegrityError, FormatUnsupported, StoreUnavailable.
        """
        return self.read_tail(tenant, pack_id, generation).table

    def read_tail(self, tenant: str, pack_id: bytes, generation: int) -> PackTail:
        """`read_table` with the pack's length, kind and sealed hashes: one HEAD, one suffix GET, a second one only for a long table."""
        name = pack_name(tenant, pack_id, generation)
        with naming(name):
            size_bytes = self.store.head(name).size_bytes
            tail = parse_tail(self.store.get_suffix(name, TAIL_READ_BYTES), size_bytes)
            if isinstance(tail, int):
                tail = parse_tail(self.store.get_suffix(name, tail), size_bytes)
            if isinstance(tail, int):
                raise IntegrityError("the store sent fewer bytes of its end than asked")
            if tail.footer.lineage_id != self.config.lineage_id:
                raise IntegrityError("a pack of another repository")
        return tail

    def unseal_data_key(self, root_object: bytes) -> bytes:
        """The data key of a root, for a PointGrant. Raises WrongKey, IntegrityError."""
        return unseal_data_key(root_object, self.secrets.repository_secret_key)

    def open_root(self, root_object: bytes) -> Root:
        """Raises WrongKey, IntegrityError (also for a root of another repository), FormatUnsupported."""
        if root_names(root_object).lineage_id != self.config.lineage_id:
            raise IntegrityError("a root of another repository")
        return open_root(root_object, self.unseal_data_key(root_object))

    def sign_manifest(self, statement: Statement, root_object: bytes) -> bytes:
        """The `m/` object. Raises ValueError when the statement is not about this root in this repository, FormatUnsupported."""
        self.require_writable()
        if statement.lineage_id != self.config.lineage_id:
            raise ValueError("a statement about another repository")
        return sign_manifest(statement, root_object, self.secrets.signing_secret_key)

    def open_manifest(self, body: bytes) -> tuple[Statement, bytes]:
        """(statement, root object) of an `m/` object. Raises IntegrityError, FormatUnsupported."""
        statement, root_object = open_manifest(body, self.config.signing_public_key)
        if statement.lineage_id != self.config.lineage_id:
            raise IntegrityError("a manifest of another repository")
        return statement, root_object

    def read_manifest(self, tenant: str, vm_id: str, point_id: str) -> tuple[Statement, bytes]:
        """`open_manifest` of a committed point, proven to be the one asked for. Raises ObjectMissing too."""
        _, statement, root_object = self.read_manifest_object(tenant, vm_id, point_id)
        return statement, root_object

    def read_manifest_object(self, tenant: str, vm_id: str, point_id: str) -> tuple[bytes, Statement, bytes]:
        """`read_manifest`, and before it the very `m/` object that was proven."""
        name = manifest_name(tenant, vm_id, point_id)
        with naming(name):
            body = read_bounded(self.store, name, MANIFEST_BYTES)
            statement, root_object = self.open_manifest(body)
            if (statement.tenant, statement.vm_id, statement.point_id) != (tenant, vm_id, point_id):
                raise IntegrityError(f"holds the manifest of point {statement.point_id} of VM {statement.vm_id}")
        return body, statement, root_object

    def read_refmap(self, tenant: str, vm_id: str, point_id: str) -> Refmap:
        """The refmap of a committed point, proven by the hash in the point's signed manifest: what is collected depends on it.

        Raises ObjectMissing, IntegrityError, RefmapInvalid, FormatUnsupported, StoreUnavailable.
        """
        statement, _ = self.read_manifest(tenant, vm_id, point_id)
        return self.refmap_of(statement)

    def refmap_of(self, statement: Statement) -> Refmap:
        """`read_refmap` for who has read the point's manifest."""
        name = refmap_name(statement.tenant, statement.vm_id, statement.point_id)
        with naming(name):
            body = read_bounded(self.store, name, REFMAP_BYTES)
            if object_hash(body) != statement.refmap_hash:
                raise IntegrityError("not the refmap that the point's manifest names")
            of_tenant, refmap = decode_refmap(body)
            if of_tenant != statement.tenant:
                raise IntegrityError(f"a refmap of tenant {of_tenant}")
        return refmap

    def points(self, tenant: str) -> list[PointName]:
        """Committed points, sorted by VM and point: an `m/` object that counts, without a tombstone that does."""
        standing = self.standing()
        named = [parse_point_name(info.name) for info in self.store.list(manifests_prefix(tenant))]
        lying = [point for point in named if point is not None]
        gone = self.forgotten(lying, standing, tombstones_prefix(tenant))
        return sorted(point for point in {*lying} - gone if self.counts(point, standing))

    def standing(self) -> Standing:
        """What of replaced leaders counts, as the bucket says now. Raises what the store raises."""
        return read_standing(self.store, self.config)

    def counts(self, point: PointName, standing: Standing) -> bool:
        """Whether the point's manifest does. One that cannot be read, or is gone, may be anything: it counts. Raises StoreUnavailable."""
        if standing.names(point.point_id):
            return True
        statement = self._statement(point)
        return not isinstance(statement, Statement) or standing.manifest_counts(statement)

    def tombstone(self, point: PointName) -> Burial | None:
        """The burial in the point's place, signed, whether or not it counts. Raises what the store raises."""
        return read_tombstone(self.store, self.open_tombstone, point)

    def burial(self, point: PointName, standing: Standing) -> Burial | None:
        """By a tombstone that counts. Raises what the store raises."""
        burial = self.tombstone(point)
        if burial is None or not standing.tombstone_counts(burial, lambda: self._statement(point)):
            return None
        return burial

    def forgotten(self, points: Iterable[PointName], standing: Standing, prefix: str) -> frozenset[PointName]:
        """Those of the points that have a tombstone that counts. List them before, as `lying_tombstones` says."""
        named = lying_tombstones(self.store, points, prefix)
        return frozenset(point for point in named if self.burial(point, standing) is not None)

    def _statement(self, point: PointName) -> Statement | Unreadable | None:
        """Of the manifest that lies there; None: none does."""
        try:
            return self.read_manifest(point.tenant, point.vm_id, point.point_id)[0]
        except ObjectMissing:
            return None
        except (IntegrityError, FormatUnsupported, StoreRefused):
            return Unreadable()

    def sign_tombstone(self, burial: Burial) -> bytes:
        """The `t/` object. Raises ValueError when it is about another repository, FormatUnsupported."""
        self.require_writable()
        if burial.lineage_id != self.config.lineage_id:
            raise ValueError("a burial in another repository")
        return sign_tombstone(burial, self.secrets.signing_secret_key)

    def open_tombstone(self, body: bytes) -> Burial:
        """Raises IntegrityError (also for another repository's), FormatUnsupported."""
        burial = open_tombstone(body, self.config.signing_public_key)
        if burial.lineage_id != self.config.lineage_id:
            raise IntegrityError("a tombstone of another repository")
        return burial

    def require_writable(self) -> None:
        """Raises FormatUnsupported when the repository uses a feature that forbids this Seawall to write."""
        unknown = self.config.unknown_for_writing
        if unknown:
            raise FormatUnsupported(
                f"{self.store.url} uses {', '.join(unknown)}: this Seawall may only read it; upgrade it"
            )


def create_repository(
    store: Store,
    *,
    lineage_id: bytes,
    chunk_nominal_bytes: int,
    recipients: Mapping[str, bytes],
    secrets: RepositorySecrets,
) -> OpenRepository:
    """Write key objects, then config (the commit point), then its copies. Call it again after a crash, with the same arguments.

    `recipients`: wrapper name -> X25519 public key, at least two (the controller and an offline recovery key), so that no single loss
    locks everybody out. Raises ForeignRepository when something else lives here; ValueError on bad arguments.
    """
    if len(set(recipients.values())) < _RECIPIENTS_LEAST or not secrets.dedup_keys:
        raise ValueError(
            f"a repository needs {_RECIPIENTS_LEAST} recipients with keys of their own, and the keys of a tenant"
        )
    config = new_config(lineage_id, chunk_nominal_bytes, secrets)
    body = encode_config(config, secrets.signing_secret_key)
    if not _is_created(store, body):
        _require_vacant(store)
        write_keys(store, lineage_id, recipients, secrets)
        _put_same(store, config_name(), body)
    for copy in range(1, CONFIG_COPIES):
        _put_same(store, config_name(copy), body)
    return OpenRepository(store, config, HeldKeys(secrets))


def open_repository(
    store: Store, wrapper_name: str, wrapper_secret_key: bytes, *, pinned_signing_key: bytes | None = None
) -> OpenRepository:
    """Open with the X25519 secret of one recipient ("controller", "recovery").

    `pinned_signing_key`: the Ed25519 public key that the caller remembers (database, recovery sheet). Without it, whoever can write to the
    bucket could put a repository of his own in its place. Raises ObjectMissing (no repository here), ForeignRepository (not the pinned
    one), WrongKey, IntegrityError, FormatUnsupported, StoreUnavailable.
    """
    config = read_config(store, pinned_signing_key)
    secrets = read_keys(store, config, wrapper_name, wrapper_secret_key)
    return OpenRepository(store, config, HeldKeys(secrets, Place(store, config, wrapper_name, wrapper_secret_key)))


def read_config(store: Store, pinned_signing_key: bytes | None = None) -> RepositoryConfig:
    """`config`, or the first of its copies that is whole and, where a key is pinned, signed by it.

    Raises what the first one met when none is. What a signed config demands is believed: no copy is asked to say otherwise.
    """
    failures: list[RepositoryError] = []
    for copy in range(CONFIG_COPIES):
        try:
            config = _config_copy(store, config_name(copy), pinned_signing_key)
        except (ObjectMissing, IntegrityError, FormatUnsupported, ForeignRepository) as error:
            failures.append(error)
            continue
        with naming(config_name(copy)):
            require_readable(config)
        return config
    found = [error for error in failures if not isinstance(error, ObjectMissing)]
    if not found:
        raise ObjectMissing(
            f"{store.url}: there is no Seawall repository here ({config_name()} is missing)"
        ) from failures[0]
    raise found[0]


def _config_copy(store: Store, name: str, pinned_signing_key: bytes | None) -> RepositoryConfig:
    with naming(name):
        return proven_config(read_bounded(store, name, SMALL_OBJECT_BYTES), pinned_signing_key)


def _is_created(store: Store, body: bytes) -> bool:
    """Whether this very repository's config stands here. Ed25519 signs deterministically: same repository, same bytes."""
    try:
        found = read_bounded(store, config_name(), SMALL_OBJECT_BYTES)
    except ObjectMissing:
        return False
    if found != body:
        raise ForeignRepository(f"{store.url}: another repository lives here ({config_name()}); choose another place")
    return True


def _require_vacant(store: Store) -> None:
    for info in store.list(FORMAT_PREFIX):
        if not info.name.startswith((KEYS_PREFIX, PROBE_PREFIX)):
            raise ForeignRepository(f"{store.url}: {info.name} lies here without a config; choose another place")


def _put_same(store: Store, name: str, body: bytes) -> None:
    try:
        store.put(name, body)
    except ObjectExists as error:
        if read_bounded(store, name, SMALL_OBJECT_BYTES) != body:
            raise ForeignRepository(f"{store.url}: {name} is another repository's; choose another place") from error
