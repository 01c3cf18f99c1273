"""The golden vectors of format 1: `vectors.json`, one hexadecimal object per kind, all from the keys in `format_samples`.

Made once, by hand (`python -m support.format_golden` in tests/), and never changed: repositories in the world hold such bytes. Called again
it adds kinds that are new, and refuses where one that is there would change. A change of the format is a new version with vectors of its
own, beside these.
"""

import json
from pathlib import Path

from seawall.repository.crypto.sealing import seal_to
from seawall.repository.format.condemn_log import sign_condemn_log
from seawall.repository.format.keyfile import encode_key_object
from seawall.repository.format.manifest import encode_leaf, encode_node, encode_root
from seawall.repository.format.open_mark import sign_open_mark
from seawall.repository.format.pack import SealedPack
from seawall.repository.format.pack_hashes import hashes_binding
from seawall.repository.format.record import ChunkType, Record
from seawall.repository.format.root_object import data_key_binding, object_hash, root_front
from support import format_samples as samples

VECTORS_PATH = Path(__file__).parent.parent / "golden" / "format" / "vectors.json"


def load() -> dict[str, bytes]:
    """Kind -> the committed bytes."""
    read: dict[str, str] = json.loads(VECTORS_PATH.read_text())
    return {name: bytes.fromhex(value) for name, value in read.items()}


def random_parts(vectors: dict[str, bytes]) -> dict[str, bytes]:
    """What HPKE sealed."""
    return {name: body for name, body in vectors.items() if name.endswith("sealed_key") or name == "key_object"}


def build(random_parts: dict[str, bytes]) -> dict[str, bytes]:
    """All objects. What HPKE sealed is taken from `random_parts` where it is there, else made."""
    parts = dict(random_parts)
    records = samples.records()
    data = _pack(parts, "data_pack_sealed_key", records)
    leaf = samples.leaf(data, records)
    stored_leaf = samples.record(encode_leaf(leaf), 40, ChunkType.META)
    meta = _pack(parts, "leaf_pack_sealed_key", [stored_leaf])
    node = samples.node(data, leaf, stored_leaf, meta)
    stored_node = samples.record(encode_node(node), 41, ChunkType.META)
    root = samples.root(stored_node, _pack(parts, "node_pack_sealed_key", [stored_node]))
    front = root_front(root, samples.PUBLIC_KEY)
    _seal_once(parts, "root_sealed_key", samples.DATA_KEY, data_key_binding(front))
    root_object = samples.root_object(root, parts["root_sealed_key"])
    refmap = samples.refmap(data, meta).encode(samples.TENANT)
    manifest = samples.manifest(root_object, refmap)
    key_object = ("default", 1, "controller", samples.RECIPIENTS["controller"], samples.BUNDLE)
    parts.setdefault("key_object", encode_key_object(samples.LINEAGE, *key_object))
    return parts | {
        "record_raw_body": bytes(records[0].body),
        "record_zstd_body": bytes(records[1].body),
        "data_pack": bytes(data.body),
        "leaf_pack": bytes(meta.body),
        "leaf": encode_leaf(leaf),
        "node": encode_node(node),
        "root": encode_root(root),
        "root_object": root_object,
        "manifest": manifest,
        "tombstone": samples.tombstone(manifest),
        "refmap": refmap,
        "config": samples.config_object(),
        "condemn_log": sign_condemn_log(samples.condemn_log(), samples.SECRETS.signing_secret_key),
        "open_mark": sign_open_mark(samples.open_mark(), samples.SECRETS.signing_secret_key),
        "export": samples.export_object(),
    }


def _pack(parts: dict[str, bytes], name: str, records: list[Record]) -> SealedPack:
    """The first try has a sealed key of the right length for no table; its table is the one to seal for."""
    table_hash = object_hash(samples.pack(records, bytes(80)).table.tobytes())
    _seal_once(parts, name, samples.HASHES_KEY, hashes_binding(samples.LINEAGE, table_hash))
    return samples.pack(records, parts[name])


def _seal_once(parts: dict[str, bytes], name: str, key: bytes, info: bytes) -> None:
    if name not in parts:
        parts[name] = seal_to(samples.PUBLIC_KEY, key, info)


def main() -> None:
    before = load() if VECTORS_PATH.exists() else {}
    made = build(random_parts(before))
    changed = sorted(name for name, value in before.items() if made.get(name) != value)
    if changed:
        raise SystemExit(f"{VECTORS_PATH}: {', '.join(changed)} would change: vectors are made once")
    vectors = {name: value.hex() for name, value in sorted(made.items())}
    VECTORS_PATH.write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
