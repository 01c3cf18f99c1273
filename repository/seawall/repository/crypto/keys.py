"""The secrets of a repository, in memory. They reach the bucket only sealed to a recipient (format.keyfile) and are never printed."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from blake3 import blake3

from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.crypto.signing import signing_public_key_of
from seawall.repository.errors import IntegrityError

SECRET_BYTES = 32
DEFAULT_TENANT = "default"
FIRST_EPOCH = 1


@dataclass(frozen=True, slots=True, repr=False)
class RepositorySecrets:
    """Everything that opens and writes one repository. Prints as ***."""

    repository_secret_key: bytes  # X25519: opens data keys of roots and lists of hashes of packs
    signing_secret_key: bytes  # Ed25519: signs config and manifests
    cut_key: bytes  # of the chunk grid; constant over key epochs
    dedup_keys: Mapping[tuple[str, int], bytes]  # (tenant, epoch) -> K_dedup
    unopened: Mapping[tuple[str, int], str] = field(
        default_factory=dict
    )  # the same -> why its key object does not open

    def __repr__(self) -> str:
        return "RepositorySecrets(***)"

    @property
    def repository_public_key(self) -> bytes:
        return public_key_of(self.repository_secret_key)

    @property
    def signing_public_key(self) -> bytes:
        return signing_public_key_of(self.signing_secret_key)

    def k_dedup(self, tenant: str, epoch: int) -> bytes:
        """Raises KeyError when this tenant has no such epoch, IntegrityError when its key object is damaged."""
        self._require_opened(tenant, epoch)
        return self.dedup_keys[tenant, epoch]

    def newest_epoch(self, tenant: str) -> int:
        """The epoch to write under. Raises KeyError when the tenant has no key.

        IntegrityError when the newest one's key object is damaged: what replaced an older epoch must not lead back to it.
        """
        epochs = [epoch for name, epoch in [*self.dedup_keys, *self.unopened] if name == tenant]
        if not epochs:
            raise KeyError(tenant)
        self._require_opened(tenant, max(epochs))
        return max(epochs)

    def _require_opened(self, tenant: str, epoch: int) -> None:
        if (tenant, epoch) in self.unopened:
            raise IntegrityError(
                f"{self.unopened[tenant, epoch]} (the keys of epoch {epoch} of tenant {tenant}: nothing of that epoch can be read or "
                "written until the object is put back, from a replica of the bucket or an older version of the object)"
            )


def new_secrets(tenants: Iterable[str] = (DEFAULT_TENANT,)) -> RepositorySecrets:
    """Fresh secrets, the first key epoch for each tenant."""
    dedup_keys = {(tenant, FIRST_EPOCH): new_secret() for tenant in tenants}
    return RepositorySecrets(new_secret(), new_secret(), new_secret(), dedup_keys)


def new_secret() -> bytes:
    """32 random bytes: good as an X25519 secret, an Ed25519 seed, a BLAKE3 or AES key."""
    return secrets.token_bytes(SECRET_BYTES)


def cut_key_commitment(cut_key: bytes) -> bytes:
    """32 bytes in `config`: proves which cut key chunks were cut with, and tells nothing of it."""
    return blake3(cut_key, derive_key_context="seawall v1 cut key commitment").digest()
