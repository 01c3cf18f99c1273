"""`controller init`: makes the keys, the certificates and the first operator's access, each once, whatever happens in between.

Each step looks whether its file is there and writes it whole if not, so a run that was cut short is continued by the next one, and a run
after a finished one changes nothing. No step reads anything that a later one writes.
"""

import hashlib
import json
import os
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.generation import (
    ISSUING_CONTEXT,
    ROOT_CONTEXT,
    key_pem,
    load_key,
    make_issuing,
    make_root,
    new_key,
)
from seawall.controller.certificates.server_certificate import ServerCertificate
from seawall.controller.config import ControllerConfig, StatePaths
from seawall.controller.database.record import record
from seawall.controller.errors import DataLoss, FailedPrecondition, InvalidArgument
from seawall.controller.files import sync_directory, write_file
from seawall.controller.operator_access import OperatorAccess
from seawall.controller.secrets import KEK_BYTES, Secret, SecretBox
from seawall.repository.clock import Clock

WRAPPER_CONTEXT = "controller/wrapper"
MARKER_VERSION = 1
TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Initialised:
    """What `controller init` tells."""

    cluster_id: str
    already: bool
    """It was there before: nothing was changed."""
    operator_toml: Path
    """Where the first operator's access was written."""


@dataclass(frozen=True, slots=True)
class _Making:
    """What the steps work on."""

    config: ControllerConfig
    clock: Clock

    @property
    def paths(self) -> StatePaths:
        return self.config.paths

    @property
    def box(self) -> SecretBox:
        return SecretBox.from_file(self.paths.kek)

    @property
    def cluster_id(self) -> str:
        return self.paths.known_cluster_id()


Step = Callable[[_Making], None]


def initialise(config: ControllerConfig, clock: Clock) -> Initialised:
    """Raises OSError (the state directory cannot be written), DataLoss (files that are lost, damaged, or of another controller)."""
    making = _Making(config, clock)
    already = config.paths.marker.exists()
    if already:
        _require_whole(config.paths)
    else:
        for step in STEPS:
            step(making)
    return Initialised(making.cluster_id, already, _operator_toml_of(config))


def require_initialised(paths: StatePaths) -> None:
    """Raises FailedPrecondition/NOT_INITIALISED; DataLoss/STATE_FILE_MISSING."""
    if not paths.marker.exists():
        raise FailedPrecondition(
            "NOT_INITIALISED", f"{paths.state_dir} holds no controller; run `seawall controller init` first."
        )
    _require_whole(paths)


def _require_whole(paths: StatePaths) -> None:
    """Nothing that is gone is made anew: what it sealed or signed would be lost behind a message that all is well."""
    first_generation = () if paths.authority.exists() else (paths.issuing_certificate, paths.issuing_key)
    for path in (
        paths.kek,
        paths.cluster_id,
        paths.root_certificate,
        *first_generation,
        paths.wrapper_key,
        paths.operator_token_hash,
    ):
        if not path.exists():
            message = f"{path} is missing, though this controller was made with it; restore it from your backup of the state directory."
            raise DataLoss("STATE_FILE_MISSING", message)


def load_wrapper_key(paths: StatePaths, box: SecretBox) -> Secret:
    """The controller's X25519 secret key, 32 bytes: the recipient "controller" of each repository's key. Raises DataLoss."""
    return box.open(paths.wrapper_key.read_bytes(), WRAPPER_CONTEXT)


def load_operator_token_hashes(paths: StatePaths) -> tuple[bytes, ...]:
    """SHA-256 of each of the first operator's tokens, 32 bytes each. Raises DataLoss/STATE_FILE_DAMAGED."""
    path = paths.operator_token_hash
    try:
        digest = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise DataLoss(
            "STATE_FILE_DAMAGED",
            f"{path} is not the hash of an operator's token. Remove it and {paths.marker.name}, then run `seawall controller init` "
            "with the options of the first time: it writes the hash of the token in operator.toml.",
        )
    return (digest,)


def _directories(making: _Making) -> None:
    paths = making.paths
    paths.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(paths.state_dir, 0o700)
    for directory in (paths.root_key.parent, paths.index_dir):
        directory.mkdir(mode=0o700, exist_ok=True)
    sync_directory(paths.state_dir)


def _kek(making: _Making) -> None:
    if not making.paths.kek.exists() and making.paths.root_key.exists():
        raise DataLoss(
            "STATE_FILE_MISSING", f"{making.paths.kek} is missing, and secrets sealed with it are there; restore it."
        )
    _once(making.paths.kek, lambda: os.urandom(KEK_BYTES), 0o400)


def _cluster_id(making: _Making) -> None:
    _once(making.paths.cluster_id, lambda: f"{uuid.uuid4()}\n".encode(), 0o644)


def _root_key(making: _Making) -> None:
    _once_of_first(making, making.paths.root_key, lambda: making.box.seal(key_pem(new_key()), ROOT_CONTEXT), 0o600)


def _root_certificate(making: _Making) -> None:
    def made() -> bytes:
        key = load_key(making.box.open(making.paths.root_key.read_bytes(), ROOT_CONTEXT))
        return make_root(key, making.cluster_id, making.clock.now_us())

    _once_of_first(making, making.paths.root_certificate, made, 0o644)


def _issuing_key(making: _Making) -> None:
    _once_of_first(
        making, making.paths.issuing_key, lambda: making.box.seal(key_pem(new_key()), ISSUING_CONTEXT), 0o600
    )


def _issuing_certificate(making: _Making) -> None:
    def made() -> bytes:
        box, paths = making.box, making.paths
        root_key = load_key(box.open(paths.root_key.read_bytes(), ROOT_CONTEXT))
        key = load_key(box.open(paths.issuing_key.read_bytes(), ISSUING_CONTEXT)).public_key()
        return make_issuing(
            key, making.cluster_id, paths.root_certificate.read_bytes(), root_key, making.clock.now_us()
        )

    _once_of_first(making, making.paths.issuing_certificate, made, 0o644)


def _server_certificate(making: _Making) -> None:
    authority = CertificateAuthority.load(making.paths, making.box, making.clock)
    ServerCertificate(
        making.paths.server_certificate, authority, making.box, making.config.certificate_names, making.clock
    )


def _wrapper_key(making: _Making) -> None:
    def made() -> bytes:
        return making.box.seal(Secret(X25519PrivateKey.generate().private_bytes_raw()), WRAPPER_CONTEXT)

    _once(making.paths.wrapper_key, made, 0o600)


def _operator_access(making: _Making) -> None:
    """operator.toml before the token's hash: a token whose hash is known but which nobody has would lock everybody out."""
    path = making.config.operator_toml
    ca_pem = making.paths.root_certificate.read_text()
    if path.exists() and _ca_of(path) == ca_pem:
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _keep_aside(path)
    access = OperatorAccess(
        making.config.dialled_by_operators, ca_pem, Secret(secrets.token_urlsafe(TOKEN_BYTES).encode())
    )
    write_file(path, access.render().encode(), 0o600)


def _operator_token_hash(making: _Making) -> None:
    """Always of the file that was written last: a run that is continued may name another place for it."""
    token = OperatorAccess.parse(making.config.operator_toml.read_text()).token
    write_file(making.paths.operator_token_hash, hashlib.sha256(token.reveal()).hexdigest().encode() + b"\n", 0o600)


def _database(making: _Making) -> None:
    record(making.config)


def _marker(making: _Making) -> None:
    told = {"version": MARKER_VERSION, "operator_toml": str(making.config.operator_toml.absolute())}
    _once(making.paths.marker, lambda: json.dumps(told).encode(), 0o644)


STEPS: tuple[Step, ...] = (
    _directories,
    _kek,
    _cluster_id,
    _root_key,
    _root_certificate,
    _issuing_key,
    _issuing_certificate,
    _server_certificate,
    _wrapper_key,
    _operator_access,
    _operator_token_hash,
    _database,
    _marker,
)


def _once(path: Path, body: Callable[[], bytes], mode: int) -> None:
    if not path.exists():
        write_file(path, body(), mode)


def _once_of_first(making: _Making, path: Path, body: Callable[[], bytes], mode: int) -> None:
    """Of the first generation of the authority: after a rotation there is another one, in a file of its own."""
    if not making.paths.authority.exists():
        _once(path, body, mode)


def _ca_of(operator_toml: Path) -> str | None:
    try:
        return OperatorAccess.parse(operator_toml.read_text()).ca_pem
    except (InvalidArgument, UnicodeDecodeError):
        return None


def _keep_aside(path: Path) -> None:
    """Another controller's operator.toml is not ours to lose."""
    if path.exists():
        os.replace(path, path.with_name(path.name + ".before"))


def _operator_toml_of(config: ControllerConfig) -> Path:
    """Raises DataLoss/STATE_FILE_DAMAGED."""
    marker = config.paths.marker
    try:
        return Path(json.loads(marker.read_text())["operator_toml"])
    except (ValueError, TypeError, KeyError) as error:
        raise DataLoss(
            "STATE_FILE_DAMAGED",
            f"{marker} is damaged. Remove it and run `seawall controller init` with the options of the first time: "
            "keys and certificates stay as they are.",
        ) from error
