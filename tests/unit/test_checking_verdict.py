"""No bit of a pack can change without being noticed, and what it does not touch is proven all the same."""

import pytest

from seawall.repository.checking.dedup_keys import DedupKeys
from seawall.repository.checking.finding import Reason
from seawall.repository.checking.verdict import Opener, judge
from seawall.repository.crypto.chunk import chunk_hash
from seawall.repository.crypto.keys import RepositorySecrets
from seawall.repository.format.pack import FOOTER_BYTES, PackBuilder, SealedPack, pack_id_of
from seawall.repository.format.record import ChunkType, seal_record
from support.format_samples import K_DEDUP, LINEAGE, SECRETS, noise

OLD_KEY = b"\x12" * 32
TWO_EPOCHS = RepositorySecrets(
    SECRETS.repository_secret_key,
    SECRETS.signing_secret_key,
    SECRETS.cut_key,
    {("default", 1): OLD_KEY, ("default", 2): K_DEDUP},
)
OPENER = Opener(LINEAGE, SECRETS.repository_secret_key, DedupKeys(TWO_EPOCHS, "default"))
PLAIN = (noise("one", 60), b"compressible " * 20, noise("three", 40))


def a_pack(kind: ChunkType = ChunkType.DATA, key: bytes = K_DEDUP) -> SealedPack:
    builder = PackBuilder(LINEAGE, SECRETS.repository_public_key, meta=kind is ChunkType.META)
    for plain in PLAIN:
        builder.add(seal_record(LINEAGE, chunk_hash(key, plain), plain, kind, 3))
    return builder.seal()


def touched(pack: SealedPack, at: int) -> set[int]:
    """Slots whose body this byte is part of."""
    return {
        int(row["slot"])
        for row in pack.table
        if int(row["offset"]) <= at < int(row["offset"]) + int(row["stored_bytes"])
    }


@pytest.mark.parametrize("kind", list(ChunkType), ids=lambda kind: kind.name)
@pytest.mark.parametrize("key", [K_DEDUP, OLD_KEY], ids=["newest epoch", "older epoch"])
def test_a_whole_pack_of_any_epoch(kind: ChunkType, key: bytes) -> None:
    pack = a_pack(kind, key)
    verdict = judge(bytes(pack.body), pack.pack_id, kind is ChunkType.META, OPENER)
    assert (verdict.reason, list(verdict.proven)) == (None, [0, 1, 2])
    assert verdict.table is not None


@pytest.mark.parametrize("first_generation", [True, False], ids=["first generation", "later generation"])
def test_every_byte_counts(*, first_generation: bool) -> None:
    pack = a_pack()
    body, slots = bytes(pack.body), {0, 1, 2}
    end = int(pack.table["offset"][-1]) + int(pack.table["stored_bytes"][-1])
    for at in range(len(body)):
        changed = body[:at] + bytes([body[at] ^ 1 << at % 8]) + body[at + 1 :]
        verdict = judge(changed, pack.pack_id if first_generation else None, False, OPENER)
        assert verdict.reason in (Reason.CHUNKS_DAMAGED, Reason.PACK_DAMAGED, Reason.CHUNKS_FALSE), at
        proven = set(verdict.proven)
        if at < end:
            assert proven == slots - touched(pack, at), at
        else:
            assert proven in (slots, set()), at


def test_every_length_but_its_own_is_damage() -> None:
    pack = a_pack()
    body = bytes(pack.body)
    for length in range(len(body)):
        assert judge(body[:length], pack.pack_id, False, OPENER).reason is not None, length
    for more in (b"\x00", body):
        assert judge(body + more, pack.pack_id, False, OPENER).reason is not None


def test_keys_that_are_missing_are_no_damage() -> None:
    lacking = RepositorySecrets(
        SECRETS.repository_secret_key,
        SECRETS.signing_secret_key,
        SECRETS.cut_key,
        {("default", 2): K_DEDUP, ("other", 1): OLD_KEY},
        {("default", 1): "v1/keys/default/1.controller: damaged"},
    )
    opener = Opener(LINEAGE, SECRETS.repository_secret_key, DedupKeys(lacking, "default"))
    pack = a_pack(key=OLD_KEY)
    verdict = judge(bytes(pack.body), pack.pack_id, False, opener)
    assert verdict.reason is Reason.KEYS_MISSING
    assert "v1/keys/default/1.controller" in verdict.sentence


def test_a_pack_of_another_repository_or_kind_is_nobodys() -> None:
    pack = a_pack()
    other = Opener(b"another lineage!", SECRETS.repository_secret_key, DedupKeys(TWO_EPOCHS, "default"))
    assert list(judge(bytes(pack.body), pack.pack_id, False, other).proven) == []
    assert judge(bytes(pack.body), None, True, OPENER).reason is Reason.PACK_FOREIGN
    stranger = Opener(LINEAGE, b"\x99" * 32, DedupKeys(TWO_EPOCHS, "default"))
    assert list(judge(bytes(pack.body), pack.pack_id, False, stranger).proven) == []


def test_a_newer_format_is_no_damage_where_it_was_written_so() -> None:
    pack = a_pack()
    body = bytearray(pack.body)
    body[-FOOTER_BYTES + 8] = 2  # the footer's version
    newer = bytes(body)
    assert judge(newer, pack_id_of(newer), False, OPENER).reason is Reason.NEEDS_UPGRADE
    altered = judge(newer, pack.pack_id, False, OPENER)
    assert (altered.reason, list(altered.proven)) == (Reason.PACK_DAMAGED, [0, 1, 2])
