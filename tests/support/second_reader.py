"""A second reader of Seawall's format 1, written by a stranger from repository/DESIGN.md alone. Nothing of Seawall is imported.

usage: python second_reader.py FOLDER RECOVERY-KEY TARGET

Writes each disk of each committed point to TARGET/<point>-<disk>.raw, and prints which. Where this reader and Seawall disagree, one of them
or the page is wrong: `tests/integration/test_second_reader.py` runs it on repositories that Seawall wrote.
"""

import hashlib
import hmac
import json
import os
import re
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PAGE_BYTES = 64 << 20
PAGES_PER_NODE = 256
LONGEST_CHUNK_BYTES = 16 << 20
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
OPEN_NAME = re.compile("[0-9]{12}-[0-9]{12}")
CHILD = struct.Struct("<32s16sIIIIHBBI")
TABLE_ENTRY = struct.Struct("<16sIIIHBB")
Json = dict[str, Any]


class Bad(Exception):
    """What the page does not allow."""


MET = (Bad, OSError, InvalidTag, InvalidSignature, zstandard.ZstdError, ValueError, KeyError, struct.error)
"""What one object may meet where another one can stand in for it."""


def need(holds: object, what: str) -> None:
    if not holds:
        raise Bad(what)


# -- HPKE base mode (RFC 9180), X25519, HKDF-SHA256, AES-256-GCM

KEM = b"KEM" + (0x20).to_bytes(2, "big")
SUITE = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x20, 1, 2))


def extract(suite: bytes, salt: bytes, label: bytes, content: bytes) -> bytes:
    return hmac.new(salt or bytes(32), b"HPKE-v1" + suite + label + content, hashlib.sha256).digest()


def expand(suite: bytes, key: bytes, label: bytes, content: bytes, length: int) -> bytes:
    """At most 32 bytes: one block."""
    info = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + content
    return hmac.new(key, info + b"\x01", hashlib.sha256).digest()[:length]


def public_of(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def unseal(secret: bytes, sealed: bytes, info: bytes) -> bytes:
    encapsulated, ciphertext = sealed[:32], sealed[32:]
    exchanged = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(encapsulated))
    both = encapsulated + public_of(secret)
    shared = expand(KEM, extract(KEM, b"", b"eae_prk", exchanged), b"shared_secret", both, 32)
    context = b"\x00" + extract(SUITE, b"", b"psk_id_hash", b"") + extract(SUITE, b"", b"info_hash", info)
    secret_of_both = extract(SUITE, shared, b"secret", b"")
    key = expand(SUITE, secret_of_both, b"key", context, 32)
    nonce = expand(SUITE, secret_of_both, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, b"")


def unbox(key: bytes, box: bytes, associated: bytes) -> bytes:
    return AESGCM(key).decrypt(box[:12], box[12:], associated)


def derive(context: str, content: bytes, length: int = 32) -> bytes:
    return blake3(content, derive_key_context=context).digest(length=length)


# -- headers, descriptors, the recovery key


def check_header(body: bytes, magic: bytes) -> None:
    found, version, suite, zero = struct.unpack_from("<8sHHI", body)
    need((found, version, suite, zero) == (magic, 1, 1, 0), f"header of {magic.decode()}")


def canonical(body: bytes) -> Json:
    value: Json = json.loads(body)
    again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    need(again == body, "not canonical")
    return value


def descriptor(body: bytes, magic: bytes) -> tuple[Json, int]:
    """(what it says, where it ends)."""
    check_header(body, magic)
    (length,) = struct.unpack_from("<I", body, 16)
    need(length <= 65536 and 20 + length <= len(body), "length of a descriptor")
    return canonical(body[20 : 20 + length]), 20 + length


def recovery_secret(text: str) -> bytes:
    letters = "".join(letter for letter in text.upper() if letter.isalnum())
    letters = letters.replace("O", "0").replace("I", "1").replace("L", "1")
    need(len(letters) == 64, "length of the recovery key")
    number = 0
    for letter in letters:
        number = number << 5 | CROCKFORD.index(letter)
    content = number.to_bytes(40, "big")
    need(content[0] == 1, "version of the recovery key")
    need(derive("seawall v1 recovery key checksum", content[:33], 7) == content[33:], "checksum of the recovery key")
    return content[1:33]


# -- the repository


class OpenMark(NamedTuple):
    """What counts of leaders before `epoch`: ids of points, and of those that leave."""

    epoch: int
    points: frozenset[str]
    leaving: frozenset[str]


class PointName(NamedTuple):
    tenant: str
    vm_id: str
    point_id: str


class Repository:
    """A folder, opened with the recovery key."""

    def __init__(self, folder: Path, secret: bytes) -> None:
        self.folder = folder
        self.config = self._config()
        need(not self.config["features_may_not_read"], "a feature that forbids reading")
        self.lineage: str = self.config["lineage_id"]
        self.secret = b""
        self.k_dedup: dict[tuple[str, int], bytes] = {}
        for path in sorted((folder / "v1/keys").glob("*/*")):
            self._read_keys(path, secret)
        need(self.k_dedup, "no key object opens")
        self.mark = self._last_mark()

    def _config(self) -> Json:
        for name in ("v1/config", "v1/config.1", "v1/config.2"):
            try:
                body = (self.folder / name).read_bytes()
                said, end = descriptor(body, b"SEAWCONF")
                need(len(body) == end + 64, "length of config")
                self.signer = Ed25519PublicKey.from_public_bytes(bytes.fromhex(said["signing_public_key"]))
                self.signer.verify(body[end:], b"seawall v1 config signature\0" + body[:end])
            except MET:
                continue
            return said
        raise Bad("no config")

    def _read_keys(self, path: Path, secret: bytes) -> None:
        body = path.read_bytes()
        said, end = descriptor(body, b"SEAWKEYS")
        if said["recipient"] != derive("seawall v1 recipient id", public_of(secret), 8).hex():
            return
        need(said["lineage_id"] == self.lineage, "keys of another repository")
        bundle = unseal(secret, body[end:], b"seawall v1 key bundle\0" + body[:end])
        need(derive("seawall v1 key bundle id", bundle, 16).hex() == said["bundle_id"], "bundle id")
        keys = {name: bytes.fromhex(value) for name, value in canonical(bundle).items()}
        self.secret = keys["repository_secret_key"]
        need(public_of(self.secret).hex() == self.config["repository_public_key"], "repository key")
        commitment = derive("seawall v1 cut key commitment", keys["cut_key"]).hex()
        need(commitment == self.config["cut_key_commitment"], "cut key")
        self.k_dedup[said["tenant"], said["epoch"]] = keys["k_dedup"]

    def points(self) -> Iterator[PointName]:
        """A manifest that counts, without a tombstone that does."""
        for path in sorted((self.folder / "v1/m").glob("*/*/*")):
            name = PointName(*path.parts[-3:])
            if not self._is_buried(name) and self._counts(name):
                yield name

    def _last_mark(self) -> OpenMark | None:
        """The greatest name decides; of one that proves nothing all counts."""
        found = (OPEN_NAME.fullmatch(path.name) for path in (self.folder / "v1/c/open").glob("*"))
        names = sorted((match[0] for match in found if match), reverse=True)
        if not names:
            return None
        try:
            return self._mark(names[0])
        except MET as error:
            sys.stderr.write(f"v1/c/open/{names[0]}: {error!r}: all counts\n")
            return None

    def _mark(self, name: str) -> OpenMark:
        body = (self.folder / "v1/c/open" / name).read_bytes()
        said, start = descriptor(body, b"SEAWOPEN")
        end = len(body) - 64
        self.signer.verify(body[end:], b"seawall v1 open mark signature\0" + body[:end])
        need(said["lineage_id"] == self.lineage, "a mark of another repository")
        need(f"{said['epoch']:012}-{said['number']:012}" == name, "a mark of another place")
        need(start + 16 * (said["points"] + said["leaving"] + said["logs"]) == end, "length of a mark")
        ids = [body[at : at + 16] for at in range(start, end, 16)]
        points, leaving = ids[: said["points"]], ids[said["points"] :][: said["leaving"]]
        logs = [struct.unpack("<QQ", entry) for entry in ids[said["points"] + said["leaving"] :]]
        in_order = (points == sorted({*points}), leaving == sorted({*leaving}), logs == sorted({*logs}))
        need(all(in_order), "order of a mark")
        texts = [frozenset(str(UUID(bytes=each)) for each in listed) for listed in (points, leaving)]
        return OpenMark(said["epoch"], *texts)

    def _counts(self, name: PointName) -> bool:
        if self.mark is None or name.point_id in self.mark.points:
            return True
        try:
            epoch = self._leader_epoch(name)
        except MET:
            return True
        return epoch is None or epoch >= self.mark.epoch

    def _leader_epoch(self, name: PointName) -> int | None:
        """Of the manifest; None where it says none. Raises MET."""
        db_epoch: int = self._statement(self.folder.joinpath("v1/m", *name).read_bytes(), name)[0]["db_epoch"]
        return db_epoch - (1 << 40) if db_epoch >= 1 << 40 else None

    def _buries(self, name: PointName, epoch: int) -> bool:
        """Whether a tombstone of that epoch counts."""
        if self.mark is None or epoch >= self.mark.epoch:
            return True
        if name.point_id in self.mark.points:
            return name.point_id in self.mark.leaving
        if not self.folder.joinpath("v1/m", *name).exists():
            return True
        try:
            lying = self._leader_epoch(name)
        except MET:
            return False
        return lying is None or lying < self.mark.epoch

    def _is_buried(self, name: PointName) -> bool:
        try:
            body = self.folder.joinpath("v1/t", *name).read_bytes()
            said, end = descriptor(body, b"SEAWTOMB")
            need(len(body) == end + 64, "length of a tombstone")
            self.signer.verify(body[end:], b"seawall v1 tombstone signature\0" + body[:end])
            self._need_names(said, name)
        except MET:
            return False
        return self._buries(name, said["epoch"])

    def _need_names(self, said: Json, name: PointName) -> None:
        found = (said["lineage_id"], said["tenant"], said["vm_id"], said["point_id"])
        need(found == (self.lineage, *name), "names of another point")

    def _statement(self, body: bytes, name: PointName) -> tuple[Json, bytes]:
        """(what the manifest says, the root object)."""
        said, end = descriptor(body, b"SEAWMANI")
        self.signer.verify(body[end : end + 64], b"seawall v1 manifest signature\0" + body[:end])
        self._need_names(said, name)
        return said, body[end + 64 :]

    def root(self, name: PointName) -> Json:
        said, root_object = self._statement(self.folder.joinpath("v1/m", *name).read_bytes(), name)
        need(blake3(root_object).hexdigest() == said["root_hash"], "root hash")
        outer, end = descriptor(root_object, b"SEAWROOT")
        key = unseal(self.secret, root_object[end : end + 80], b"seawall v1 root data key\0" + root_object[:end])
        root = canonical(unbox(key, root_object[end + 80 :], root_object[: end + 80]))
        for names in (outer, root):
            self._need_names(names, name)
            need(names["key_epoch"] == said["key_epoch"], "key epoch")
        return root


# -- chunks


@dataclass(frozen=True)
class Place:
    """Where a chunk lies in one generation of a pack."""

    generation: int
    offset: int
    stored_bytes: int
    codec: int


class PointReader:
    """One point. Every chunk is proven by its h."""

    def __init__(self, repository: Repository, root: Json) -> None:
        self.root = root
        self._folder = repository.folder.joinpath("v1/p", root["tenant"])
        self._lineage = bytes.fromhex(repository.lineage)
        self._k_dedup = repository.k_dedup[root["tenant"], root["key_epoch"]]
        self._newest: dict[bytes, dict[bytes, Place]] = {}

    def chunk(self, h: bytes, pack_id: bytes, place: Place, raw_bytes: int, *, meta: bool) -> bytes:
        """From the generation that is named; a meta pack's other copy; the newest generation that lies there."""
        identity = derive("seawall v1 chunk id", h, 16)
        other = Place(place.generation ^ 1, place.offset, place.stored_bytes, place.codec)
        places: list[Callable[[], Place]] = [lambda: place, lambda: self._moved(pack_id)[identity]]
        if meta:
            places.insert(1, lambda: other)
        failures = []
        for where in places:
            try:
                return self._read(h, pack_id, where(), raw_bytes, meta=meta)
            except MET as error:
                failures.append(repr(error))
        raise Bad(f"chunk {identity.hex()}: {failures}")

    def _path(self, pack_id: bytes, generation: int) -> Path:
        return self._folder.joinpath(pack_id.hex()[:2], f"{pack_id.hex()}.{generation}")

    def _read(self, h: bytes, pack_id: bytes, place: Place, raw_bytes: int, *, meta: bool) -> bytes:
        with self._path(pack_id, place.generation).open("rb") as file:
            file.seek(place.offset)
            body = file.read(place.stored_bytes)
        associated = struct.pack("<HBBI", 1, int(meta), place.codec, raw_bytes)
        associated += derive("seawall v1 chunk id", h, 16) + self._lineage
        plain = unbox(derive("seawall v1 chunk key", h), body, associated)
        if place.codec == 1:
            need(zstandard.frame_content_size(plain) == raw_bytes <= LONGEST_CHUNK_BYTES, "content size")
            plain = zstandard.ZstdDecompressor().decompress(plain)
        need(len(plain) == raw_bytes and blake3(plain, key=self._k_dedup).digest() == h, "h")
        return plain

    def _moved(self, pack_id: bytes) -> dict[bytes, Place]:
        """The table of the newest generation, by chunk id."""
        if pack_id not in self._newest:
            lying = self._path(pack_id, 0).parent.glob(f"{pack_id.hex()}.*")
            generation = max((int(path.suffix[1:]) for path in lying), default=-1)
            need(generation >= 0, f"pack {pack_id.hex()} is gone")
            self._newest[pack_id] = self._table(self._path(pack_id, generation).read_bytes(), generation)
        return self._newest[pack_id]

    def _table(self, body: bytes, generation: int) -> dict[bytes, Place]:
        footer = body[-128:]
        check_header(footer, b"SEAWPFTR")
        need(blake3(footer[:112]).digest(length=16) == footer[112:], "footer")
        _, slots, start, length, _ = struct.unpack_from("<IIQQQ", footer, 32)
        table = body[start : start + length]
        need(footer[16:32] == self._lineage and length == 48 * slots, "footer of another pack")
        need(blake3(table).digest() == footer[64:96], "table")
        rows = (TABLE_ENTRY.unpack_from(table, 48 * row) for row in range(slots))
        return {identity: Place(generation, offset, stored, codec) for identity, offset, stored, _, _, codec, _ in rows}

    def named(self, h: str, chunk: Json) -> bytes:
        """A meta chunk as canonical JSON names it."""
        place = Place(chunk["generation"], chunk["offset"], chunk["stored_bytes"], chunk["codec"])
        return self.chunk(bytes.fromhex(h), bytes.fromhex(chunk["pack_id"]), place, chunk["raw_bytes"], meta=True)

    def members(self) -> dict[str, bytes]:
        return {member["name"]: self.named(member["h"], member["chunk"]) for member in self.root["members"]}

    # -- disks

    def restore(self, disk: Json, target: Path) -> None:
        with target.open("wb") as file:
            file.truncate(disk["size_bytes"])
            for number, node in enumerate(disk["nodes"]):
                if not node["h"]:
                    need(node["chunk"] is None, "a node of zeroes")
                    continue
                for position, leaf in self._pages(self.named(node["h"], node["chunk"])):
                    start = (number * PAGES_PER_NODE + position) * PAGE_BYTES
                    self._page(leaf, min(PAGE_BYTES, disk["size_bytes"] - start), file.fileno(), start)

    def _pages(self, node: bytes) -> Iterator[tuple[int, bytes]]:
        """(position, leaf) of each page that is not all zeroes."""
        check_header(node, b"SEAWNODE")
        children, packs, lists = struct.unpack_from("<III", node, 16)
        first = 28 + 16 * packs
        need(len(node) == first + CHILD.size * children + lists, "length of a node")
        for position in range(children):
            h, pack_id, generation, offset, stored, raw, _, codec, present, _ = CHILD.unpack_from(
                node, first + CHILD.size * position
            )
            if present:
                yield position, self.chunk(h, pack_id, Place(generation, offset, stored, codec), raw, meta=True)

    def _page(self, leaf: bytes, length: int, file: int, start: int) -> None:
        check_header(leaf, b"SEAWLEAF")
        entries, packs = struct.unpack_from("<II", leaf, 16)
        named = [struct.unpack_from("<16sI", leaf, 24 + 20 * pack) for pack in range(packs)]
        at, columns = 24 + 20 * packs, []
        for code, size in zip("IIIHHBB", (4, 4, 4, 2, 2, 1, 1), strict=True):
            columns.append(struct.unpack_from(f"<{entries}{code}", leaf, at))
            at += entries * size
        need(at + 32 * entries == len(leaf), "length of a leaf")
        need(sum(columns[0]) == length, "length of a page")
        for row, (raw, stored, offset, pack, _, codec, zero) in enumerate(zip(*columns, strict=True)):
            if not zero:
                h, (pack_id, generation) = leaf[at + 32 * row : at + 32 * row + 32], named[pack]
                place = Place(generation, offset, stored, codec)
                os.pwrite(file, self.chunk(h, pack_id, place, raw, meta=False), start)
            start += raw


def main(folder: str, key: str, target: str) -> None:
    repository = Repository(Path(folder), recovery_secret(key))
    for name in repository.points():
        reader = PointReader(repository, repository.root(name))
        for disk in reader.root["disks"]:
            path = Path(target) / f"{name.point_id}-{disk['disk']}.raw"
            reader.restore(disk, path)
            sys.stdout.write(f"{path.name}\n")
        for member in sorted(reader.members()):
            sys.stdout.write(f"{name.point_id} {member}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
