"""Targets: objects that a signature or a key proves as a whole: config, keys, roots, manifests, tombstones, logs, marks, exports."""

from dataclasses import replace

import zstandard
from blake3 import blake3

from seawall.repository.crypto.aead import seal_box
from seawall.repository.crypto.sealing import recipient_id, seal_to
from seawall.repository.crypto.signing import (
    CONDEMNED_DOMAIN,
    CONFIG_DOMAIN,
    MANIFEST_DOMAIN,
    OPEN_DOMAIN,
    SIGNATURE_BYTES,
    TOMBSTONE_DOMAIN,
    sign,
)
from seawall.repository.errors import ForeignRepository, FormatUnsupported, IntegrityError, WrongKey
from seawall.repository.format.canonical import from_canonical, to_canonical
from seawall.repository.format.condemn_log import open_condemn_log, sign_condemn_log
from seawall.repository.format.config import parse_config
from seawall.repository.format.descriptor import read_descriptor, with_descriptor
from seawall.repository.format.export import ExportFront, open_export
from seawall.repository.format.header import CONFIG, EXPORT, KEYS, MANIFEST, TOMBSTONE
from seawall.repository.format.keyfile import KeyNames, open_key_object
from seawall.repository.format.manifest import decode_root, encode_root
from seawall.repository.format.open_mark import read_open_mark, sign_open_mark
from seawall.repository.format.root_object import (
    assemble_root,
    open_manifest,
    open_root,
    root_front,
    sign_manifest,
    unseal_data_key,
)
from seawall.repository.format.tombstone import open_tombstone
from seawall.repository.rescue.how_to import how_to_text
from support import format_samples as samples
from support.parser_target import GOLDEN, Target, one_encoding, only_seed

OPEN_MARK = GOLDEN["open_mark"]
CONDEMN_LOG = GOLDEN["condemn_log"]
EXPORT_FRAME = zstandard.ZstdCompressor(level=3).compress(samples.EXPORT_DOCUMENT)


def _inner_config(descriptor: bytes) -> bytes:
    front = with_descriptor(CONFIG, descriptor[: 1 << 16])
    body = front + sign(samples.SECRETS.signing_secret_key, CONFIG_DOMAIN, front)
    return to_canonical(parse_config(body, samples.SECRETS.signing_public_key))


def _key_object(body: bytes) -> object:
    return open_key_object(body, samples.RECIPIENT_SECRETS["controller"])


def _inner_key_bundle(bundle: bytes) -> bytes:
    public = samples.RECIPIENTS["controller"]
    identity = blake3(bundle, derive_key_context="seawall v1 key bundle id").digest(length=16)
    names = KeyNames(samples.LINEAGE, samples.TENANT, 1, "controller", recipient_id(public), identity)
    front = with_descriptor(KEYS, to_canonical(names))
    return to_canonical(
        open_key_object(
            front + seal_to(public, bundle, b"seawall v1 key bundle\x00" + front),
            samples.RECIPIENT_SECRETS["controller"],
        )[1]
    )


def _root_object(body: bytes) -> object:
    return open_root(body, unseal_data_key(body, samples.SECRETS.repository_secret_key))


def _inner_root(body: bytes) -> None:
    """Sealed by an agent that may write what it likes; opened, and told to a person."""
    opened = decode_root(body)
    assert encode_root(opened) == body
    front = root_front(opened, samples.PUBLIC_KEY)
    sealed = seal_to(samples.PUBLIC_KEY, samples.DATA_KEY, b"seawall v1 root data key\x00" + front)
    again = _root_object(assemble_root(opened, front, sealed, samples.DATA_KEY, samples.nonce(7)))
    assert again == opened
    how_to_text(opened)


def _late_root() -> bytes:
    """Taken by an agent whose clock stands far past the calendar."""
    return encode_root(replace(decode_root(GOLDEN["root"]), instant_us=(1 << 63) - 1))


def _inner_burial(descriptor: bytes) -> bytes:
    """What a tombstone says, signed whatever it is."""
    front = with_descriptor(TOMBSTONE, descriptor[: 1 << 16])
    burial = open_tombstone(
        front + sign(samples.SECRETS.signing_secret_key, TOMBSTONE_DOMAIN, front), samples.SECRETS.signing_public_key
    )
    return to_canonical(burial)


def _inner_statement(descriptor: bytes) -> bytes:
    front = with_descriptor(MANIFEST, descriptor[: 1 << 16])
    signature = sign(samples.SECRETS.signing_secret_key, MANIFEST_DOMAIN, front)
    body = front + signature + GOLDEN["root_object"]
    statement, root_object = open_manifest(body, samples.SECRETS.signing_public_key)
    assert root_object == GOLDEN["root_object"]
    assert sign_manifest(statement, root_object, samples.SECRETS.signing_secret_key) == body
    return to_canonical(statement)


def _inner_condemn_log(content: bytes) -> bytes:
    """Statement and entries of a log, signed anew."""
    body = content + sign(samples.SECRETS.signing_secret_key, CONDEMNED_DOMAIN, content)
    log = open_condemn_log(body, samples.SECRETS.signing_public_key)
    return sign_condemn_log(log, samples.SECRETS.signing_secret_key)[:-SIGNATURE_BYTES]


def _inner_open_mark(content: bytes) -> bytes:
    """Statement and lists of a mark, signed anew."""
    body = content + sign(samples.SECRETS.signing_secret_key, OPEN_DOMAIN, content)
    mark = read_open_mark(body, samples.SECRETS.signing_public_key)
    return sign_open_mark(mark, samples.SECRETS.signing_secret_key)[:-SIGNATURE_BYTES]


def _sealed_export(descriptor: bytes, frame: bytes) -> bytes:
    """As a controller would that writes what it likes: the key follows from the salt, where the front has one."""
    try:
        salt = from_canonical(ExportFront, descriptor, "front").salt
    except IntegrityError:
        salt = samples.export_front().salt
    secret = samples.SECRETS.repository_secret_key
    key = blake3(secret + salt, derive_key_context="seawall v1 export key").digest()
    front = with_descriptor(EXPORT, descriptor[: 1 << 16])
    return front + seal_box(key, samples.nonce(1), frame, front)


def _inner_export_front(descriptor: bytes) -> bytes:
    front, document = open_export(_sealed_export(descriptor, EXPORT_FRAME), samples.SECRETS.repository_secret_key)
    assert document == samples.EXPORT_DOCUMENT
    return to_canonical(front)


def _inner_export_frame(frame: bytes) -> None:
    sealed = _sealed_export(to_canonical(samples.export_front()), frame)
    front, document = open_export(sealed, samples.SECRETS.repository_secret_key)
    assert len(document) == front.document_bytes


def _descriptor(name: str, magic: bytes) -> bytes:
    return read_descriptor(GOLDEN[name], magic, name)[0]


SIGNED: dict[str, Target] = {
    "config": Target(
        (GOLDEN["config"],),
        only_seed(lambda body: parse_config(body, samples.SECRETS.signing_public_key), GOLDEN["config"]),
        (IntegrityError, FormatUnsupported, ForeignRepository),
    ),
    "config, signed": Target(
        (_descriptor("config", CONFIG),),
        one_encoding(_inner_config),
        (IntegrityError, FormatUnsupported, ForeignRepository),
    ),
    "key object": Target(
        (GOLDEN["key_object"],),
        only_seed(_key_object, GOLDEN["key_object"]),
        (IntegrityError, FormatUnsupported, WrongKey),
    ),
    "key bundle, sealed": Target((to_canonical(samples.BUNDLE),), one_encoding(_inner_key_bundle)),
    "root object": Target(
        (GOLDEN["root_object"],),
        only_seed(_root_object, GOLDEN["root_object"]),
        (IntegrityError, FormatUnsupported, WrongKey),
    ),
    "root, sealed": Target((GOLDEN["root"], _late_root()), _inner_root),
    "manifest": Target(
        (GOLDEN["manifest"],),
        only_seed(lambda body: open_manifest(body, samples.SECRETS.signing_public_key), GOLDEN["manifest"]),
    ),
    "tombstone": Target(
        (GOLDEN["tombstone"],),
        only_seed(lambda body: open_tombstone(body, samples.SECRETS.signing_public_key), GOLDEN["tombstone"]),
    ),
    "burial, signed": Target((_descriptor("tombstone", TOMBSTONE),), one_encoding(_inner_burial)),
    "statement, signed": Target((_descriptor("manifest", MANIFEST),), one_encoding(_inner_statement)),
    "condemn log": Target(
        (CONDEMN_LOG,), only_seed(lambda body: open_condemn_log(body, samples.SECRETS.signing_public_key), CONDEMN_LOG)
    ),
    "open mark": Target(
        (OPEN_MARK,), only_seed(lambda body: read_open_mark(body, samples.SECRETS.signing_public_key), OPEN_MARK)
    ),
    "open mark, signed": Target((OPEN_MARK[:-SIGNATURE_BYTES],), one_encoding(_inner_open_mark)),
    "export": Target(
        (GOLDEN["export"],),
        only_seed(lambda body: open_export(body, samples.SECRETS.repository_secret_key), GOLDEN["export"]),
    ),
    "export's front, sealed": Target((to_canonical(samples.export_front()),), one_encoding(_inner_export_front)),
    "export's document, sealed": Target((EXPORT_FRAME,), _inner_export_frame),
    "condemn log, signed": Target((CONDEMN_LOG[:-SIGNATURE_BYTES],), one_encoding(_inner_condemn_log)),
}
