"""The secrets of an open repository, as long as it is open. Held by `OpenRepository`.

Tenants come while a repository is open: a controller that did not make a tenant's keys, and a worker that opened before, read them when
they first meet the tenant.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from seawall.repository.crypto.keys import DEFAULT_TENANT, RepositorySecrets
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.errors import IntegrityError, StoreUnavailable
from seawall.repository.format.config import RepositoryConfig
from seawall.repository.keyring import Damaged, make_tenant, read_tenant
from seawall.repository.store.port import Store

WAIT_SECONDS = 2.0
"""For another call that reads or makes keys. Longer, and the calls of a few hosts would hold every thread while a store hangs."""


@dataclass(frozen=True, slots=True, repr=False)
class Place:
    """Where the keys lie, and whose they are. Prints as ***."""

    store: Store
    config: RepositoryConfig
    wrapper: str
    wrapper_secret_key: bytes

    def __repr__(self) -> str:
        return "Place(***)"


class HeldKeys:
    """Thread-safe. `place` None: nothing is read or made beside what was given, as in a repository just created."""

    def __init__(self, secrets: RepositorySecrets, place: Place | None = None) -> None:
        self._secrets = secrets
        self._place = place
        self._written: set[str] = set()
        self._changing = threading.Lock()

    def __repr__(self) -> str:
        return f"HeldKeys({self._secrets!r})"

    @property
    def secrets(self) -> RepositorySecrets:
        """As far as they were read."""
        return self._secrets

    def k_dedup(self, tenant: str, epoch: int) -> bytes:
        """Raises as `RepositorySecrets.k_dedup` does, and what the store raises."""
        try:
            return self._secrets.k_dedup(tenant, epoch)
        except (KeyError, IntegrityError):  # made, or put back, since it was read
            return self._again(tenant).k_dedup(tenant, epoch)

    def of_tenant(self, tenant: str) -> RepositorySecrets:
        """The secrets, read again where none of this tenant were there."""
        return self._secrets if _knows(self._secrets, tenant) else self._again(tenant)

    def epoch_to_write(
        self, tenant: str, recipients: Mapping[str, bytes], damaged: Damaged = lambda name, error: None
    ) -> int:
        """The tenant's newest key epoch, made first where it has none: every recipient (wrapper name -> X25519 public key) opens it.

        What is missing for one of them, after a crash or an accident, is written anew: a point that the recovery key cannot open would
        be no backup. One that is damaged stays, and `damaged` is called with its name and what was met, once per tenant as long as the
        repository is open. Those of the first tenant were written and read with the repository's own: the store is not asked for them.
        Raises IntegrityError (ours is damaged); ForeignRepository; WrongKey; KeyError (no place to make any); what the store raises;
        StoreUnavailable where another call waits for the store.
        """
        if self._place is None or self._is_ready(tenant):
            return self._secrets.newest_epoch(tenant)
        with self._alone(self._place):
            if not self._is_ready(tenant):
                self._secrets = self._made(self._place, tenant, recipients, damaged)
                self._written.add(tenant)
        return self._secrets.newest_epoch(tenant)

    def _is_ready(self, tenant: str) -> bool:
        return (tenant == DEFAULT_TENANT or tenant in self._written) and _opens(self._secrets, tenant)

    def _made(self, place: Place, tenant: str, recipients: Mapping[str, bytes], damaged: Damaged) -> RepositorySecrets:
        mine = (tenant, place.wrapper, place.wrapper_secret_key)
        secrets = self._secrets
        if _knows(secrets, tenant) and not _opens(secrets, tenant):
            secrets = read_tenant(place.store, place.config, secrets, *mine)  # it may have been put back
        if _knows(secrets, tenant):
            secrets.newest_epoch(tenant)  # raises: ours is damaged
        everybody = {**recipients, place.wrapper: public_key_of(place.wrapper_secret_key)}
        make_tenant(place.store, place.config, secrets, tenant, everybody, *mine[1:], damaged)
        return read_tenant(place.store, place.config, secrets, *mine)

    def _again(self, tenant: str) -> RepositorySecrets:
        place = self._place
        if place is None:
            return self._secrets
        with self._alone(place):
            mine = (tenant, place.wrapper, place.wrapper_secret_key)
            self._secrets = read_tenant(place.store, place.config, self._secrets, *mine)
            return self._secrets

    @contextmanager
    def _alone(self, place: Place) -> Iterator[None]:
        """One reads or makes keys at a time. Raises StoreUnavailable: another has been at it for too long."""
        if not self._changing.acquire(timeout=WAIT_SECONDS):
            raise StoreUnavailable(f"{place.store.url} is slow: another call is still reading or making keys there")
        try:
            yield
        finally:
            self._changing.release()


def _knows(secrets: RepositorySecrets, tenant: str) -> bool:
    return any(name == tenant for name, _ in (*secrets.dedup_keys, *secrets.unopened))


def _opens(secrets: RepositorySecrets, tenant: str) -> bool:
    """Whether its newest epoch can be written under."""
    try:
        secrets.newest_epoch(tenant)
    except (KeyError, IntegrityError):
        return False
    return True
