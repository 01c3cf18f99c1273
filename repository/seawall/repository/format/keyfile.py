"""Key objects `v1/keys/<tenant>/<epoch>.<wrapper>`: the repository's secrets and one K_dedup, sealed to one recipient.

header | length u32 | names (canonical JSON) | HPKE-sealed bundle (canonical JSON); info = domain + all before the sealed bundle.
Adding, rotating or revoking a recipient writes or deletes key objects and nothing else.
"""

from dataclasses import dataclass

from blake3 import blake3

from seawall.repository.crypto.keys import SECRET_BYTES
from seawall.repository.crypto.sealing import SEAL_OVERHEAD_BYTES, open_sealed, public_key_of, recipient_id, seal_to
from seawall.repository.errors import IntegrityError, WrongKey
from seawall.repository.format.altered import told_apart
from seawall.repository.format.canonical import from_canonical, to_canonical
from seawall.repository.format.descriptor import read_descriptor, with_descriptor
from seawall.repository.format.header import KEYS

CONTROLLER_WRAPPER = "controller"
RECOVERY_WRAPPER = "recovery"

_INFO_DOMAIN = b"seawall v1 key bundle\x00"


@dataclass(frozen=True, slots=True, repr=False)
class KeyBundle:
    """The secrets in one key object. Prints as ***."""

    repository_secret_key: bytes
    signing_secret_key: bytes
    cut_key: bytes
    k_dedup: bytes

    def __repr__(self) -> str:
        return "KeyBundle(***)"


SEALED_BUNDLE_BYTES = SEAL_OVERHEAD_BYTES + len(to_canonical(KeyBundle(*(bytes(SECRET_BYTES),) * 4)))
"""Each of its keys has a fixed length."""


@dataclass(frozen=True, slots=True)
class KeyNames:
    """What a key object says of itself in clear."""

    lineage_id: bytes
    tenant: str
    epoch: int
    wrapper: str
    recipient: bytes  # id of the recipient's public key, 8 bytes
    bundle_id: bytes  # BLAKE3 of the bundle, 16 bytes: tells equal bundles without opening them


def bundle_id(bundle: KeyBundle) -> bytes:
    """16 bytes. The bundle is 128 random bytes, so its hash tells nothing of it."""
    return blake3(to_canonical(bundle), derive_key_context="seawall v1 key bundle id").digest(length=16)


def encode_key_object(
    lineage_id: bytes, tenant: str, epoch: int, wrapper: str, recipient_public_key: bytes, bundle: KeyBundle
) -> bytes:
    """The object, sealed to the recipient's X25519 public key."""
    recipient = recipient_id(recipient_public_key)
    names = KeyNames(lineage_id, tenant, epoch, wrapper, recipient, bundle_id(bundle))
    front = with_descriptor(KEYS, to_canonical(names))
    return front + seal_to(recipient_public_key, to_canonical(bundle), _INFO_DOMAIN + front)


def key_names(body: bytes) -> KeyNames:
    """What it says of itself, not yet proven. Raises IntegrityError, FormatUnsupported."""
    descriptor, _ = read_descriptor(body, KEYS, "key object")
    return from_canonical(KeyNames, descriptor, "key object's names")


def key_front(body: bytes) -> tuple[KeyNames, int]:
    """(its names, not yet proven; how many sealed bytes follow): what can be told without a key.

    Raises IntegrityError, FormatUnsupported.
    """
    _, start = read_descriptor(body, KEYS, "key object")
    return key_names(body), len(body) - start


def open_key_object(body: bytes, recipient_secret_key: bytes) -> tuple[KeyNames, KeyBundle]:
    """Raises WrongKey (sealed to somebody else), IntegrityError, FormatUnsupported."""
    return told_apart(lambda read: _proven_keys(read, recipient_secret_key), body, "key object")


def _proven_keys(body: bytes, recipient_secret_key: bytes) -> tuple[KeyNames, KeyBundle]:
    names = key_names(body)
    if names.recipient != recipient_id(public_key_of(recipient_secret_key)):
        raise WrongKey(f"the keys for {names.wrapper!r} are sealed to another key than the one given")
    _, start = read_descriptor(body, KEYS, "key object")
    opened = open_sealed(recipient_secret_key, body[start:], _INFO_DOMAIN + body[:start], "key object")
    bundle = from_canonical(KeyBundle, opened, "key bundle")
    keys = (bundle.repository_secret_key, bundle.signing_secret_key, bundle.cut_key, bundle.k_dedup)
    if names.bundle_id != bundle_id(bundle) or any(len(key) != SECRET_BYTES for key in keys):
        raise IntegrityError("key object: its bundle is not the one that it names")
    return names, bundle
