"""Adds a repository: look at the store, create the repository in it or adopt the one that this controller made, remember it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from seawall.controller.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from seawall.controller.records.catalogue import Capabilities, RepositoryRecord, Wrapper
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.credentials import seal_credentials
from seawall.controller.store import Store as Database
from seawall.controller.store import Transaction
from seawall.repository.clock import Clock
from seawall.repository.crypto.keys import new_secrets
from seawall.repository.crypto.sealing import public_key_of, recipient_id
from seawall.repository.errors import (
    BucketMissing,
    ForeignRepository,
    FormatUnsupported,
    IntegrityError,
    ObjectMissing,
    StoreRefused,
    StoreUnavailable,
    WrongKey,
)
from seawall.repository.format.keyfile import CONTROLLER_WRAPPER, RECOVERY_WRAPPER, key_names
from seawall.repository.keyring import key_objects
from seawall.repository.repository import OpenRepository, create_repository, open_repository, read_config
from seawall.repository.store.location import LocationInvalid, S3Credentials, S3Location, parse_location
from seawall.repository.store.port import Store, StoreCapabilities
from seawall.repository.store.presigned import PresignedClient
from seawall.repository.store.probe import probe

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

    def add(self, addition: Addition) -> RepositoryRecord:
        """Repeatable after a crash: a repository that stands already is adopted, if the recovery key is its own.

        Raises InvalidArgument/BAD_URL, BAD_NAME, BAD_RECOVERY_KEY, BAD_CHUNK_SIZE; AlreadyExists/NAME_TAKEN;
        FailedPrecondition/BUCKET_MISSING, BUCKET_REFUSED, BUCKET_UNREACHABLE, FOREIGN_REPOSITORY, STORE_UNSAFE.
        """
        chunk_bytes = _check(addition)
        self._check_name(addition.name)
        with _store_told():
            capabilities = self._probe(addition)
            store = self._catalogue.store_of(addition.url, addition.credentials)
            repository = self._adopt(store, addition) or self._create(store, addition, chunk_bytes)
        record = self._record(addition, repository, capabilities)
        self._remember(record, addition.credentials)
        _log.info("repository.added", repository=record.name, url=record.url, warnings=capabilities.warnings)
        return record

    def _check_name(self, name: str) -> None:
        taken = self._database.read_now(lambda transaction: transaction.repositories.repositories_named(name))
        if taken:
            raise AlreadyExists("NAME_TAKEN", f"There is a repository named {name!r} already.")

    def _probe(self, addition: Addition) -> StoreCapabilities:
        bare = self._catalogue.bare_store_of(addition.url, addition.credentials)
        location = parse_location(addition.url)
        ca_file = location.ca_file if isinstance(location, S3Location) else None
        with PresignedClient(ca_file=Path(ca_file) if ca_file else None) as transfer:
            found = probe(bare, transfer)
        if not found.create_only and not addition.accept_unsafe_store:
            raise FailedPrecondition(
                "STORE_UNSAFE", f"{' '.join(found.warnings)} Or accept it: --accept-unsafe-store.", {"url": bare.url}
            )
        return found

    def _adopt(self, store: Store, addition: Addition) -> OpenRepository | None:
        try:
            config = read_config(store)
        except ObjectMissing:
            return None
        secret = self._catalogue.keys.wrapper_secret.reveal()
        repository = open_repository(store, CONTROLLER_WRAPPER, secret, pinned_signing_key=config.signing_public_key)
        if recipient_id(addition.recovery_public_key) not in _recovery_recipients(store):
            raise InvalidArgument(
                "BAD_RECOVERY_KEY", "The repository exists and was made with another recovery key; give that one."
            )
        return repository

    def _create(self, store: Store, addition: Addition, chunk_bytes: int) -> OpenRepository:
        recipients = {
            CONTROLLER_WRAPPER: public_key_of(self._catalogue.keys.wrapper_secret.reveal()),
            RECOVERY_WRAPPER: addition.recovery_public_key,
        }
        lineage_id = bytes.fromhex(uuid7(self._clock).replace("-", ""))
        return create_repository(
            store, lineage_id=lineage_id, chunk_nominal_bytes=chunk_bytes, recipients=recipients, secrets=new_secrets()
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
            capabilities=_capabilities(capabilities),
            secret_id=repository_id if addition.credentials else "",
            created_us=self._clock.now_us(),
        )

    def _remember(self, record: RepositoryRecord, credentials: S3Credentials | None) -> None:
        sealed = seal_credentials(self._catalogue.keys.box, record.id, credentials) if credentials else b""

        def closure(transaction: Transaction) -> None:
            for other in transaction.repositories.repositories():
                if other.lineage_hex == record.lineage_hex:
                    raise AlreadyExists("NAME_TAKEN", f"This repository was added before, as {other.name!r}.")
            transaction.repositories.add_repository(record)
            if record.secret_id:
                transaction.repositories.add_secret(record.secret_id, sealed)

        self._database.write_now(closure)


def _check(addition: Addition) -> int:
    """The nominal chunk size in bytes."""
    name = addition.name
    if not 1 <= len(name) <= NAME_LENGTH or not name.replace("-", "a").replace("_", "a").replace(".", "a").isalnum():
        raise InvalidArgument("BAD_NAME", "A repository's name has 1 to 63 letters, digits, '-', '_' and '.'.")
    if len(addition.recovery_public_key) != KEY_BYTES:
        raise InvalidArgument("BAD_RECOVERY_KEY", f"The recovery public key must be X25519, {KEY_BYTES} bytes.")
    size = addition.chunk_nominal_bytes or DEFAULT_CHUNK_BYTES
    if not SMALLEST_CHUNK_BYTES <= size <= LARGEST_CHUNK_BYTES or size & (size - 1):
        raise InvalidArgument("BAD_CHUNK_SIZE", "The nominal chunk size is a power of two from 8 KiB to 1 MiB.")
    return size


def _recovery_recipients(store: Store) -> set[bytes]:
    """Ids of the keys that the recovery wrappers are sealed to."""
    names = [name for name, parts in key_objects(store).items() if parts.wrapper == RECOVERY_WRAPPER]
    return {key_names(store.get(name)).recipient for name in names}


def _capabilities(found: StoreCapabilities) -> Capabilities:
    return Capabilities(
        conditional_put=found.create_only,
        conditional_put_atomic=found.create_only_atomic,
        checks_content_md5=found.md5_checked,
        presigned_requires_condition=found.signed_condition,
        warnings=found.warnings,
    )


@contextmanager
def _store_told() -> Iterator[None]:
    """The words of AddRepository for what a store answered."""
    try:
        yield
    except LocationInvalid as error:
        raise InvalidArgument("BAD_URL", str(error)) from error
    except BucketMissing as error:
        raise FailedPrecondition("BUCKET_MISSING", f"{error} Create it first.") from error
    except StoreRefused as error:
        raise FailedPrecondition("BUCKET_REFUSED", str(error)) from error
    except StoreUnavailable as error:
        raise FailedPrecondition("BUCKET_UNREACHABLE", str(error)) from error
    except (ForeignRepository, WrongKey, FormatUnsupported, IntegrityError) as error:
        raise FailedPrecondition("FOREIGN_REPOSITORY", str(error)) from error
