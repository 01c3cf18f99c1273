"""The few objects without which nothing opens or nobody knows what counts: the copies of config, all key objects, the condemn logs, and the
last open mark. Called by `check`.

None of them costs a point as long as another stands in for it, so nobody notices the loss before the last one is needed.
"""

from collections.abc import Mapping

from seawall.repository.bounded import SMALL_OBJECT_BYTES, read_bounded
from seawall.repository.checking.finding import Findings, Reason
from seawall.repository.checking.port import Ledger
from seawall.repository.collecting.condemn_logs import read_condemn_log
from seawall.repository.crypto.keys import RepositorySecrets
from seawall.repository.errors import (
    ForeignRepository,
    FormatUnsupported,
    IntegrityError,
    ObjectMissing,
    StoreRefused,
)
from seawall.repository.forgetting.standing import Standing
from seawall.repository.format.config import proven_config
from seawall.repository.format.keyfile import (
    CONTROLLER_WRAPPER,
    RECOVERY_WRAPPER,
    SEALED_BUNDLE_BYTES,
    KeyBundle,
    bundle_id,
    key_front,
)
from seawall.repository.format.layout import (
    CONDEMNED_PREFIX,
    CONFIG_COPIES,
    KeyName,
    config_name,
    key_name,
    keys_prefix,
    open_name,
    parse_condemned_name,
)
from seawall.repository.keyring import key_objects
from seawall.repository.repository import OpenRepository
from seawall.repository.store.port import Store

_UNREADABLE = (IntegrityError, ForeignRepository, FormatUnsupported, StoreRefused)


def check_small_objects(repository: OpenRepository, ledger: Ledger, findings: Findings, standing: Standing) -> None:
    """`standing`: as it was read for this check. Raises StoreUnavailable, BucketMissing, and what the ledger raises."""
    _configs(repository, findings)
    _keys(repository, findings)
    _logs(repository, ledger, findings)
    _open_mark(standing, findings)


def _configs(repository: OpenRepository, findings: Findings) -> None:
    """Each by itself: reading a repository takes the first that is whole, and says nothing of the others."""
    for copy in range(CONFIG_COPIES):
        name = config_name(copy)
        try:
            body = read_bounded(repository.store, name, SMALL_OBJECT_BYTES)
            config = proven_config(body, repository.config.signing_public_key)
            if config != repository.config:
                raise IntegrityError("it says something else than the config that this repository was opened with")
        except ObjectMissing:
            findings.add(Reason.CONFIG_DAMAGED, name, "this copy of the config is not in the store")
        except _UNREADABLE as error:
            findings.add(Reason.CONFIG_DAMAGED, name, f"this copy of the config cannot be used: {error}")


def _keys(repository: OpenRepository, findings: Findings) -> None:
    store, secrets = repository.store, repository.secrets
    names = key_objects(store)
    if any(_missing(place, names) for place in _places(names, secrets)):
        names = key_objects(store)  # a new tenant's are written one after the other
    for place in _places(names, secrets):
        for name in _missing(place, names):
            findings.add(Reason.KEYS_MISSING, name, "nobody can open this tenant and epoch with that key any more")
        if place in secrets.unopened:
            name = f"{keys_prefix(place[0])}{place[1]}"
            findings.add(Reason.KEYS_DAMAGED, name, f"the controller's own keys do not open: {secrets.unopened[place]}")
    for name, parts in names.items():
        try:
            _require_sound(store, repository.config.lineage_id, secrets, name, parts)
        except ObjectMissing:
            continue  # taken away since it was listed; the next check says so
        except _UNREADABLE as error:
            findings.add(Reason.KEYS_DAMAGED, name, f"it cannot open anything: {error}")


def _places(names: Mapping[str, KeyName], secrets: RepositorySecrets) -> list[tuple[str, int]]:
    """(tenant, epoch) of all keys that lie there, or that were there when the repository was opened."""
    lying = ((parts.tenant, parts.epoch) for parts in names.values())
    return sorted({*lying, *secrets.dedup_keys, *secrets.unopened})


def _missing(place: tuple[str, int], names: Mapping[str, KeyName]) -> list[str]:
    """A recovered controller has a wrapper of its own beside that of the one before."""
    held = {parts.wrapper.split("-")[0] for parts in names.values() if (parts.tenant, parts.epoch) == place}
    return [key_name(*place, wrapper) for wrapper in (CONTROLLER_WRAPPER, RECOVERY_WRAPPER) if wrapper not in held]


def _require_sound(store: Store, lineage_id: bytes, secrets: RepositorySecrets, name: str, parts: KeyName) -> None:
    """As far as can be told without the key that it is sealed to: what stands in clear, its length, and which keys it says it holds."""
    body = read_bounded(store, name, SMALL_OBJECT_BYTES)
    names, sealed_bytes = key_front(body)
    if (names.lineage_id, names.tenant, names.epoch, names.wrapper) != (lineage_id, *_parts(parts)):
        raise IntegrityError("it names another lineage, tenant, epoch or wrapper than its place")
    if sealed_bytes != SEALED_BUNDLE_BYTES:
        raise IntegrityError(f"it holds {sealed_bytes} sealed bytes, not {SEALED_BUNDLE_BYTES}")
    k_dedup = secrets.dedup_keys.get((parts.tenant, parts.epoch))
    if k_dedup is not None:
        ours = KeyBundle(secrets.repository_secret_key, secrets.signing_secret_key, secrets.cut_key, k_dedup)
        if names.bundle_id != bundle_id(ours):
            raise IntegrityError("it holds other keys than this repository's")


def _parts(parts: KeyName) -> tuple[str, int, str]:
    return parts.tenant, parts.epoch, parts.wrapper


def _logs(repository: OpenRepository, ledger: Ledger, findings: Findings) -> None:
    for info in repository.store.list(CONDEMNED_PREFIX):
        ledger.may_continue()
        number = parse_condemned_name(info.name)
        if number is None:
            continue
        try:
            read_condemn_log(repository, number)
        except ObjectMissing:
            continue  # trimmed since it was listed
        except (IntegrityError, FormatUnsupported, StoreRefused) as error:
            findings.add(Reason.LOG_DAMAGED, info.name, f"it cannot be read: {error}")


def _open_mark(standing: Standing, findings: Findings) -> None:
    """The last one, which alone decides; what it replaced goes by itself."""
    if standing.damaged is not None:
        findings.add(Reason.OPEN_MARK_DAMAGED, open_name(*standing.damaged), f"it cannot be read: {standing.damage}")
