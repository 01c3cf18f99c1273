"""Adds a repository: look at the place, remember what will be created, create it, remember that it stands.

What lies in the place already is never believed: only this controller's own creation, sealed in its database, is carried on.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from seawall.controller.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from seawall.controller.records.catalogue import Capabilities, RepositoryRecord, Wrapper
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.creation import Creations
from seawall.controller.repositories.credentials import seal_credentials
from seawall.controller.repositories.outside import told_adding
from seawall.controller.store.transaction import Store as Database
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import Clock
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.errors import (
    ObjectMissing,
)
from seawall.repository.format.keyfile import CONTROLLER_WRAPPER, RECOVERY_WRAPPER
from seawall.repository.repository import OpenRepository, read_config
from seawall.repository.store.location import S3Credentials, S3Location, parse_location
from seawall.repository.store.port import Store, StoreCapabilities
from seawall.repository.store.presigned import PresignedClient
from seawall.repository.store.probe import StoreUnfit, probe

DEFAULT_CHUNK_BYTES = 64 * 1024
SMALLEST_CHUNK_BYTES = 8 * 1024
LARGEST_CHUNK_BYTES = 1024 * 1024
KEY_BYTES = 32
NAME_LENGTH = 63

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Addition:
    """What an operator asks for."""

    name: str
    url: str
    credentials: S3Credentials | None
    chunk_nominal_bytes: int
    recovery_public_key: bytes
    accept_unsafe_store: bool


class RepositoryAdder:
    """Blocking, thread-safe."""

    def __init__(self, database: Database, catalogue: RepositoryCatalogue, clock: Clock) -> None:
        self._database = database
        self._catalogue = catalogue
        self._clock = clock
        self._creations = Creations(database, catalogue.keys, clock)
        self._one_at_a_time = threading.Lock()

    def add(self, addition: Addition) -> RepositoryRecord:
        """Repeatable after a crash at any moment, with the same recovery key: the same creation is carried on, or its record returned.

        Raises InvalidArgument/BAD_URL, BAD_NAME, BAD_RECOVERY_KEY, BAD_CHUNK_SIZE; AlreadyExists/NAME_TAKEN;
        FailedPrecondition/BUCKET_MISSING, BUCKET_REFUSED, BUCKET_UNREACHABLE, FOREIGN_REPOSITORY, STORE_UNSAFE: nothing was begun;
        Unavailable with the same reasons: it was begun, so the recovery key must be kept and given again.
        """
        chunk_bytes = _check(addition)
        with self._one_at_a_time:
            return self._add(addition, chunk_bytes)

    def _add(self, addition: Addition, chunk_bytes: int) -> RepositoryRecord:
        with told_adding():
            bare = self._catalogue.bare_store_of(addition.url, addition.credentials)
            known = self._known(addition, bare.url)
            if known is not None:
                return known
            self._refuse_strangers(bare)
            capabilities = probed(bare, addition.url, addition.accept_unsafe_store)
            creation = self._creations.begin(bare.url, chunk_bytes, addition.recovery_public_key)
        repository = self._creations.carry_out(
            creation, self._catalogue.store_of(addition.url, addition.credentials), bare
        )
        record = self._record(addition, repository, capabilities)
        self._remember(record, addition.credentials)
        _log.info("repository.added", repository=record.name, url=record.url, warnings=capabilities.warnings)
        return record

    def _known(self, addition: Addition, url: str) -> RepositoryRecord | None:
        """The repository that an earlier try of the same request added. Raises NAME_TAKEN when name or place are another one's."""
        for record in self._database.read_now(lambda transaction: transaction.repositories.repositories()):
            keys = {wrapper.public_key_hex for wrapper in record.wrappers if wrapper.name == RECOVERY_WRAPPER}
            if (record.name, record.url) == (addition.name, url) and keys == {addition.recovery_public_key.hex()}:
                return record
            if addition.name in (record.name, record.id):
                raise AlreadyExists(
                    "NAME_TAKEN", f"There is a repository named {addition.name!r} already; choose another name."
                )
            if record.url == url:
                raise AlreadyExists("NAME_TAKEN", f"{url} was added before, as {record.name!r}.")
        return None

    def _refuse_strangers(self, store: Store) -> None:
        """Raises FOREIGN_REPOSITORY when a repository stands here that is not the one whose creation this controller began."""
        try:
            config = read_config(store)
        except ObjectMissing:
            return
        begun = self._creations.under_way(store.url)
        if begun is None or begun.lineage_id != config.lineage_id:
            raise FailedPrecondition(
                "FOREIGN_REPOSITORY",
                f"{store.url} holds a repository (lineage {config.lineage_id.hex()}) that this controller did not create. "
                "Choose an empty bucket or another prefix; to use that repository, run the controller that created it.",
            )

    def _record(
        self, addition: Addition, repository: OpenRepository, capabilities: StoreCapabilities
    ) -> RepositoryRecord:
        repository_id = uuid7(self._clock)
        ours = public_key_of(self._catalogue.keys.wrapper_secret.reveal())
        epochs = sorted({epoch for _, epoch in repository.secrets.dedup_keys})
        wrappers = [
            Wrapper(name, epoch, key.hex())
            for epoch in epochs
            for name, key in ((CONTROLLER_WRAPPER, ours), (RECOVERY_WRAPPER, addition.recovery_public_key))
        ]
        return RepositoryRecord(
            id=repository_id,
            name=addition.name,
            url=repository.store.url,
            lineage_hex=repository.config.lineage_id.hex(),
            signing_public_key_hex=repository.config.signing_public_key.hex(),
            chunk_nominal_bytes=repository.config.chunk_nominal_bytes,
            wrappers=tuple(wrappers),
            capabilities=capabilities_of(capabilities),
            secret_id=repository_id if addition.credentials else "",
            created_us=self._clock.now_us(),
        )

    def _remember(self, record: RepositoryRecord, credentials: S3Credentials | None) -> None:
        sealed = seal_credentials(self._catalogue.keys.box, record.id, credentials) if credentials else b""

        def closure(transaction: Transaction) -> None:
            transaction.repositories.end_creation(record.url)
            transaction.repositories.add_repository(record)
            if record.secret_id:
                transaction.repositories.add_secret(record.secret_id, sealed)

        self._database.write_now(closure)


def _check(addition: Addition) -> int:
    """The nominal chunk size in bytes."""
    name = addition.name
    if not 1 <= len(name) <= NAME_LENGTH or not name.replace("-", "a").replace("_", "a").replace(".", "a").isalnum():
        raise InvalidArgument("BAD_NAME", "A repository's name has 1 to 63 letters, digits, '-', '_' and '.'.")
    keys = addition.credentials
    if keys is not None and not all(
        key and key.isascii() and key.isprintable() for key in (keys.access_key, keys.secret_key)
    ):
        raise InvalidArgument(
            "BAD_CREDENTIALS",
            "An access key and its secret are given together, in one line each, of printable ASCII characters.",
        )
    if len(addition.recovery_public_key) != KEY_BYTES:
        raise InvalidArgument("BAD_RECOVERY_KEY", f"The recovery public key must be X25519, {KEY_BYTES} bytes.")
    size = addition.chunk_nominal_bytes or DEFAULT_CHUNK_BYTES
    if not SMALLEST_CHUNK_BYTES <= size <= LARGEST_CHUNK_BYTES or size & (size - 1):
        raise InvalidArgument("BAD_CHUNK_SIZE", "The nominal chunk size is a power of two from 8 KiB to 1 MiB.")
    return size


def probed(bare: Store, url: str, accept_unsafe_store: bool) -> StoreCapabilities:
    """`bare`: the store without retries. Raises FailedPrecondition/STORE_UNSAFE."""
    with probe_client(bare, url) as transfer:
        found = probe(bare, transfer)
    if not found.create_only and not accept_unsafe_store:
        raise FailedPrecondition(
            "STORE_UNSAFE", f"{' '.join(found.warnings)} Or accept it: --accept-unsafe-store.", {"url": bare.url}
        )
    return found


@contextmanager
def probe_client(bare: Store, url: str) -> Iterator[PresignedClient]:
    """What follows the URLs that the store signs meanwhile. Raises FailedPrecondition/STORE_UNSAFE where the store is unfit."""
    location = parse_location(url)
    ca_file = location.ca_file if isinstance(location, S3Location) else None
    with PresignedClient(ca_file=Path(ca_file) if ca_file else None) as transfer:
        try:
            yield transfer
        except StoreUnfit as error:
            raise FailedPrecondition("STORE_UNSAFE", f"{error}.", {"url": bare.url}) from error


def capabilities_of(found: StoreCapabilities) -> Capabilities:
    return Capabilities(
        conditional_put=found.create_only,
        conditional_put_atomic=found.create_only_atomic,
        checks_content_md5=found.md5_checked,
        presigned_requires_condition=found.signed_condition,
        warnings=found.warnings,
        takes_bare_put=found.bare_put,
    )
