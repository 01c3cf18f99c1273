"""`v1/config`: what a repository is. Written last when one is created, so its existence is what makes a repository.

header | length u32 | canonical JSON | Ed25519 signature (64) over domain + all before it. Copies: config.1, config.2, the same bytes.
"""

from dataclasses import dataclass

from seawall.repository.chunking.grid import Grid
from seawall.repository.crypto.keys import RepositorySecrets, cut_key_commitment
from seawall.repository.crypto.signing import CONFIG_DOMAIN, SIGNATURE_BYTES, sign, verify
from seawall.repository.errors import ForeignRepository, FormatUnsupported, IntegrityError
from seawall.repository.format.altered import told_apart
from seawall.repository.format.canonical import from_canonical, to_canonical
from seawall.repository.format.descriptor import read_descriptor, with_descriptor
from seawall.repository.format.header import CONFIG, SUITE, VERSION
from seawall.repository.format.record import LINEAGE_ID_BYTES

KNOWN_FEATURES: frozenset[str] = frozenset()
"""Features beyond format 1 that this Seawall understands."""


@dataclass(frozen=True, slots=True)
class RepositoryConfig:
    """What stands in `config`. Features: names of later additions, by what a Seawall that does not know one may still do."""

    format_version: int
    suite: int
    lineage_id: bytes  # 16 bytes, shared by a repository and its replicas
    chunk_nominal_bytes: int
    cut_key_commitment: bytes
    repository_public_key: bytes  # X25519
    signing_public_key: bytes  # Ed25519
    features_may_ignore: tuple[str, ...] = ()
    features_may_not_write: tuple[str, ...] = ()
    features_may_not_read: tuple[str, ...] = ()

    @property
    def unknown_for_writing(self) -> tuple[str, ...]:
        """Features that forbid this Seawall to write; empty: it may."""
        return tuple(name for name in self.features_may_not_write if name not in KNOWN_FEATURES)


def new_config(lineage_id: bytes, chunk_nominal_bytes: int, secrets: RepositorySecrets) -> RepositoryConfig:
    """The config of a repository with these secrets. Raises ValueError on a malformed lineage or chunk size."""
    if len(lineage_id) != LINEAGE_ID_BYTES:
        raise ValueError(f"a lineage id has {LINEAGE_ID_BYTES} bytes, not {len(lineage_id)}")
    Grid(secrets.cut_key, chunk_nominal_bytes)  # raises: a repository that nobody can cut for is none
    return RepositoryConfig(
        format_version=VERSION,
        suite=SUITE,
        lineage_id=lineage_id,
        chunk_nominal_bytes=chunk_nominal_bytes,
        cut_key_commitment=cut_key_commitment(secrets.cut_key),
        repository_public_key=secrets.repository_public_key,
        signing_public_key=secrets.signing_public_key,
    )


def encode_config(config: RepositoryConfig, signing_secret_key: bytes) -> bytes:
    """The object, signed."""
    front = with_descriptor(CONFIG, to_canonical(config))
    return front + sign(signing_secret_key, CONFIG_DOMAIN, front)


def parse_config(body: bytes, pinned_signing_key: bytes | None = None) -> RepositoryConfig:
    """The config, its signature checked with the key inside it; a caller that knows the right key passes it.

    Raises IntegrityError, FormatUnsupported (version, suite, a feature that must be known for reading), ForeignRepository (another key than
    the pinned one).
    """
    config = proven_config(body, pinned_signing_key)
    require_readable(config)
    return config


def proven_config(body: bytes, pinned_signing_key: bytes | None = None) -> RepositoryConfig:
    """What stands in it, signed, whether this Seawall can read the repository or not.

    Raises IntegrityError, ForeignRepository, FormatUnsupported (a header of another version: damage, where a whole copy stands beside it).
    """
    return told_apart(lambda read: _signed_config(read, pinned_signing_key), body, "config")


def _signed_config(body: bytes, pinned_signing_key: bytes | None) -> RepositoryConfig:
    descriptor, end = read_descriptor(body, CONFIG, "config")
    config = from_canonical(RepositoryConfig, descriptor, "config")
    verify(config.signing_public_key, CONFIG_DOMAIN, body[:end], body[end:], "config")
    if len(body) != end + SIGNATURE_BYTES or len(config.lineage_id) != LINEAGE_ID_BYTES:
        raise IntegrityError("config: its lengths are wrong")
    if pinned_signing_key is not None and config.signing_public_key != pinned_signing_key:
        raise ForeignRepository(
            "config: signed by another key than this repository's: it was replaced, or the URL is wrong"
        )
    return config


def require_readable(config: RepositoryConfig) -> None:
    """Raises FormatUnsupported when the repository is of a format, a suite or with a feature that this Seawall cannot read."""
    if (config.format_version, config.suite) != (VERSION, SUITE):
        raise FormatUnsupported(
            f"config: format {config.format_version}, suite {config.suite} are not known: upgrade Seawall"
        )
    unknown = [name for name in config.features_may_not_read if name not in KNOWN_FEATURES]
    if unknown:
        raise FormatUnsupported(
            f"config: this repository uses {', '.join(unknown)}, which this Seawall does not know: upgrade it"
        )
