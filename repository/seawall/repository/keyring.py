"""Key objects in a store: written when a repository is created and when a tenant is new to it, read when it is opened.

Called by `repository` and `held_keys` alone.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from seawall.repository.bounded import SMALL_OBJECT_BYTES, read_bounded
from seawall.repository.crypto.keys import FIRST_EPOCH, RepositorySecrets, cut_key_commitment, new_secret
from seawall.repository.errors import (
    ForeignRepository,
    FormatUnsupported,
    IntegrityError,
    ObjectExists,
    ObjectMissing,
    RepositoryError,
    WrongKey,
)
from seawall.repository.format.config import RepositoryConfig
from seawall.repository.format.keyfile import KeyBundle, bundle_id, encode_key_object, key_names, open_key_object
from seawall.repository.format.layout import KEYS_PREFIX, KeyName, key_name, keys_prefix, parse_key_name
from seawall.repository.naming import naming
from seawall.repository.store.port import Store

T = TypeVar("T")

Damaged = Callable[[str, RepositoryError], None]
"""Told the name of a recipient's key object that cannot be read, and what was met."""

_SHUT = (IntegrityError, WrongKey, FormatUnsupported, ObjectMissing)
"""What one key object can meet that says nothing of the others."""


def write_keys(store: Store, lineage_id: bytes, recipients: Mapping[str, bytes], secrets: RepositorySecrets) -> None:
    """One object per tenant, epoch and recipient (wrapper name -> X25519 public key). Repeatable with the same secrets.

    Raises ForeignRepository when an object of that name holds other secrets: it belongs to another, maybe unfinished, creation, and
    removing it could lock that one's owner out.
    """
    for (tenant, epoch), k_dedup in sorted(secrets.dedup_keys.items()):
        bundle = _bundle(secrets, k_dedup)
        for wrapper, public_key in sorted(recipients.items()):
            name = key_name(tenant, epoch, wrapper)
            body = encode_key_object(lineage_id, tenant, epoch, wrapper, public_key, bundle)
            try:
                store.put(name, body)
            except ObjectExists as error:
                _require_same(store, name, body, error)


def make_tenant(
    store: Store,
    config: RepositoryConfig,
    secrets: RepositorySecrets,
    tenant: str,
    recipients: Mapping[str, bytes],
    wrapper: str,
    wrapper_secret_key: bytes,
    damaged: Damaged,
) -> None:
    """Leaves the tenant with keys that every recipient (wrapper name -> X25519 public key) opens. Repeatable, by several at once.

    `wrapper`, one of the recipients, is the caller's own. Its object is written first, create-only, and decides: who comes second takes
    over what lies there, and so does who comes after a crash. An epoch that others hold and the caller cannot open stays theirs; the
    next one is made. Another recipient's object that is damaged stays as it is, and is told to `damaged`: the caller's opens all the same.
    Raises ForeignRepository where one of them holds other keys; WrongKey, IntegrityError (ours is damaged); what the store raises.
    """
    listed = key_objects(store, tenant)
    own = [parts.epoch for parts in listed.values() if parts.wrapper == wrapper]
    newest = max((parts.epoch for parts in listed.values()), default=FIRST_EPOCH - 1)
    mine = KeyName(tenant, max(own) if own else newest + 1, wrapper)
    if not own:
        fresh = _bundle(secrets, new_secret())
        with suppress(ObjectExists):
            store.put(key_name(tenant, mine.epoch, wrapper), _sealed(config, mine, recipients[wrapper], fresh))
    # What lies there counts, never what was meant to: another controller may have been first.
    bundle = _open(store, key_name(tenant, mine.epoch, wrapper), mine, config, wrapper_secret_key)
    for each, public_key in sorted(recipients.items()):
        name = key_name(tenant, mine.epoch, each)
        if each == wrapper:
            continue
        if name not in listed:
            with suppress(ObjectExists):
                store.put(name, _sealed(config, replace(mine, wrapper=each), public_key, bundle))
        _require_alike(store, name, mine, bundle, damaged)


def read_keys(store: Store, config: RepositoryConfig, wrapper: str, secret_key: bytes) -> RepositorySecrets:
    """All epochs of all tenants that this wrapper's key opens, proven against the config.

    An object that does not open keeps its own tenant and epoch shut and no other: it is named in the secrets' `unopened`.
    Raises WrongKey (no such wrapper, or another key than it was made for); IntegrityError (no keys at all); what the first object met,
    when none opens.
    """
    names = key_objects(store)
    mine = {name: parts for name, parts in names.items() if parts.wrapper == wrapper}
    if not mine:
        known = sorted({parts.wrapper for parts in names.values()})
        if not known:
            raise IntegrityError(
                f"{KEYS_PREFIX}: {store.url} lists no key object at all: nothing in the repository can be read until they are put back, "
                "from a replica of the bucket or an older version of the objects"
            )
        raise WrongKey(
            f"{store.url} has no keys for {wrapper!r}; it has keys for: {', '.join(known)}. Use the key of one of them, or put "
            f"{KEYS_PREFIX}*.{wrapper} back, from a replica of the bucket or an older version of the objects"
        )
    bundles, failures = _opened(store, config, mine, secret_key)
    if not bundles:
        # A wrong key is what the operator can mend: it goes before damage.
        raise next((error for error in failures.values() if isinstance(error, WrongKey)), *failures.values())
    first = next(iter(bundles.values()))
    dedup_keys = {place: bundle.k_dedup for place, bundle in bundles.items()}
    unopened = {place: str(error) for place, error in failures.items()}
    return RepositorySecrets(first.repository_secret_key, first.signing_secret_key, first.cut_key, dedup_keys, unopened)


def read_tenant(
    store: Store, config: RepositoryConfig, secrets: RepositorySecrets, tenant: str, wrapper: str, secret_key: bytes
) -> RepositorySecrets:
    """The secrets with all epochs of this tenant as they lie there now. Raises what the store raises."""
    mine = {name: parts for name, parts in key_objects(store, tenant).items() if parts.wrapper == wrapper}
    bundles, failures = _opened(store, config, mine, secret_key)
    return replace(
        secrets,
        dedup_keys={**_without(secrets.dedup_keys, tenant), **{place: each.k_dedup for place, each in bundles.items()}},
        unopened={**_without(secrets.unopened, tenant), **{place: str(error) for place, error in failures.items()}},
    )


def key_objects(store: Store, tenant: str = "") -> Mapping[str, KeyName]:
    """Object name -> its parts, sorted by name; of one tenant where one is named."""
    parsed = {
        info.name: parse_key_name(info.name) for info in store.list(keys_prefix(tenant) if tenant else KEYS_PREFIX)
    }
    return {name: parts for name, parts in sorted(parsed.items()) if parts is not None}


def _without(places: Mapping[tuple[str, int], T], tenant: str) -> dict[tuple[str, int], T]:
    return {place: value for place, value in places.items() if place[0] != tenant}


def _opened(
    store: Store, config: RepositoryConfig, names: Mapping[str, KeyName], secret_key: bytes
) -> tuple[dict[tuple[str, int], KeyBundle], dict[tuple[str, int], RepositoryError]]:
    """(bundles, why others did not open), by tenant and epoch."""
    bundles: dict[tuple[str, int], KeyBundle] = {}
    failures: dict[tuple[str, int], RepositoryError] = {}
    for name, parts in names.items():
        try:
            bundles[parts.tenant, parts.epoch] = _open(store, name, parts, config, secret_key)
        except _SHUT as error:
            failures[parts.tenant, parts.epoch] = error
    return bundles, failures


def _bundle(secrets: RepositorySecrets, k_dedup: bytes) -> KeyBundle:
    return KeyBundle(secrets.repository_secret_key, secrets.signing_secret_key, secrets.cut_key, k_dedup)


def _sealed(config: RepositoryConfig, place: KeyName, public_key: bytes, bundle: KeyBundle) -> bytes:
    return encode_key_object(config.lineage_id, place.tenant, place.epoch, place.wrapper, public_key, bundle)


def _require_alike(store: Store, name: str, mine: KeyName, bundle: KeyBundle, damaged: Damaged) -> None:
    """That another recipient's object holds this bundle, as its clear names tell, if they tell anything."""
    try:
        found = key_names(read_bounded(store, name, SMALL_OBJECT_BYTES))
    except (IntegrityError, FormatUnsupported) as error:
        damaged(name, error)
        return
    if found.bundle_id != bundle_id(bundle):
        own = key_name(mine.tenant, mine.epoch, mine.wrapper)
        raise ForeignRepository(
            f"{name}: holds other keys than {own}: another controller writes to this repository, or the object was replaced. "
            f"Nothing is written for tenant {mine.tenant} until the two agree"
        )


def _require_same(store: Store, name: str, body: bytes, error: ObjectExists) -> None:
    """Sealing twice gives different bytes; the clear names tell whether it is the same bundle for the same recipient."""
    with naming(name):
        found = key_names(read_bounded(store, name, SMALL_OBJECT_BYTES))
    if found != key_names(body):
        raise ForeignRepository(
            f"{name}: keys of another repository, or of a creation that never ended, lie here; "
            f"choose another place, or delete {KEYS_PREFIX} by hand if you know that no config ever stood beside it"
        ) from error


def _open(store: Store, name: str, parts: KeyName, config: RepositoryConfig, secret_key: bytes) -> KeyBundle:
    with naming(name):
        names, bundle = open_key_object(read_bounded(store, name, SMALL_OBJECT_BYTES), secret_key)
        said = (names.lineage_id, names.tenant, names.epoch, names.wrapper)
        if said != (config.lineage_id, parts.tenant, parts.epoch, parts.wrapper):
            raise IntegrityError("it names another lineage, tenant, epoch or wrapper than its place")
        _require_config_keys(bundle, config)
    return bundle


def _require_config_keys(bundle: KeyBundle, config: RepositoryConfig) -> None:
    secrets = RepositorySecrets(bundle.repository_secret_key, bundle.signing_secret_key, bundle.cut_key, {})
    held = (secrets.repository_public_key, secrets.signing_public_key, cut_key_commitment(secrets.cut_key))
    if held != (config.repository_public_key, config.signing_public_key, config.cut_key_commitment):
        raise IntegrityError("its keys are not those that config names")
