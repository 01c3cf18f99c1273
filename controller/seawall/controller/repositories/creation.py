"""A creation under way: everything that the objects of a new repository are made from, sealed in the database before the first of them.

A crash between key objects and config leaves something in the bucket that only these values can finish; they live until the repository's
row is written.
"""

import json
from dataclasses import dataclass

from seawall.controller.errors import ControllerError, InvalidArgument, Unavailable
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.repositories.catalogue import Keys
from seawall.controller.repositories.outside import told_adding
from seawall.controller.secrets import Secret, SecretBox
from seawall.controller.store.transaction import Store as Database
from seawall.repository.clock import Clock
from seawall.repository.crypto.keys import RepositorySecrets, new_secrets
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.errors import RepositoryError
from seawall.repository.format.keyfile import CONTROLLER_WRAPPER, RECOVERY_WRAPPER
from seawall.repository.format.layout import KEYS_PREFIX
from seawall.repository.repository import OpenRepository, create_repository
from seawall.repository.store.port import Store


@dataclass(frozen=True, slots=True, repr=False)
class Creation:
    """`recovery_public_key`: the recipient that the operator's recovery sheet opens for. Prints nothing of its secrets."""

    lineage_id: bytes
    chunk_nominal_bytes: int
    recovery_public_key: bytes
    secrets: RepositorySecrets


def seal_creation(box: SecretBox, url: str, creation: Creation) -> bytes:
    secrets = creation.secrets
    plain = {
        "lineage_id": creation.lineage_id.hex(),
        "chunk_nominal_bytes": creation.chunk_nominal_bytes,
        "recovery_public_key": creation.recovery_public_key.hex(),
        "repository_secret_key": secrets.repository_secret_key.hex(),
        "signing_secret_key": secrets.signing_secret_key.hex(),
        "cut_key": secrets.cut_key.hex(),
        "dedup_keys": [[tenant, epoch, key.hex()] for (tenant, epoch), key in sorted(secrets.dedup_keys.items())],
    }
    return box.seal(Secret(json.dumps(plain).encode()), _context(url))


def open_creation(box: SecretBox, url: str, sealed: bytes) -> Creation:
    """Raises DataLoss/WRONG_KEK, SECRET_DAMAGED."""
    plain = json.loads(box.open(sealed, _context(url)).reveal())
    secrets = RepositorySecrets(
        bytes.fromhex(plain["repository_secret_key"]),
        bytes.fromhex(plain["signing_secret_key"]),
        bytes.fromhex(plain["cut_key"]),
        {(tenant, epoch): bytes.fromhex(key) for tenant, epoch, key in plain["dedup_keys"]},
    )
    return Creation(
        bytes.fromhex(plain["lineage_id"]),
        plain["chunk_nominal_bytes"],
        bytes.fromhex(plain["recovery_public_key"]),
        secrets,
    )


def _context(url: str) -> str:
    return f"creation/{url}"


class Creations:
    """Blocking. One at a time for one place."""

    def __init__(self, database: Database, keys: Keys, clock: Clock) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock

    def under_way(self, url: str) -> Creation | None:
        sealed = self._database.read_now(lambda transaction: transaction.repositories.creation(url))
        return None if sealed is None else open_creation(self._keys.box, url, sealed)

    def begin(self, url: str, chunk_bytes: int, recovery_public_key: bytes) -> Creation:
        """The creation of this place, durable before anything of it is in the bucket: the one begun earlier, or a new one.

        Raises InvalidArgument/BAD_RECOVERY_KEY, BAD_CHUNK_SIZE when that one was begun otherwise.
        """
        new = Creation(
            bytes.fromhex(uuid7(self._clock).replace("-", "")), chunk_bytes, recovery_public_key, new_secrets()
        )
        sealed = seal_creation(self._keys.box, url, new)
        kept = self._database.write_now(lambda transaction: transaction.repositories.begin_creation(url, sealed))
        begun = open_creation(self._keys.box, url, kept)
        if begun.recovery_public_key != recovery_public_key:
            raise InvalidArgument(
                "BAD_RECOVERY_KEY",
                f"Adding {url} was begun with another recovery key and did not end; give that first key again "
                "(the command line kept its file), or choose another place.",
            )
        if begun.chunk_nominal_bytes != chunk_bytes:
            raise InvalidArgument(
                "BAD_CHUNK_SIZE",
                f"Adding {url} was begun with chunks of {begun.chunk_nominal_bytes} bytes; give the same.",
            )
        return begun

    def carry_out(self, creation: Creation, store: Store, bare: Store) -> OpenRepository:
        """`bare`: the store without retries. Raises what AddRepository says: Unavailable once something may be in the bucket."""
        try:
            with told_adding():
                return self._create(store, creation)
        except ControllerError as error:
            if self._forgotten(bare):
                raise
            raise Unavailable(
                error.reason, f"{error} Adding it was begun; ask again, with the same recovery key, and it goes on."
            ) from error

    def _forgotten(self, store: Store) -> bool:
        """Ends a creation of which nothing reached the bucket: the next try may bring another key. False: something may lie there."""
        try:
            touched = any(True for _ in store.list(KEYS_PREFIX))
        except RepositoryError:
            return False
        if not touched:
            self._database.write_now(lambda transaction: transaction.repositories.end_creation(store.url))
        return not touched

    def _create(self, store: Store, creation: Creation) -> OpenRepository:
        recipients = {
            CONTROLLER_WRAPPER: public_key_of(self._keys.wrapper_secret.reveal()),
            RECOVERY_WRAPPER: creation.recovery_public_key,
        }
        return create_repository(
            store,
            lineage_id=creation.lineage_id,
            chunk_nominal_bytes=creation.chunk_nominal_bytes,
            recipients=recipients,
            secrets=creation.secrets,
        )
