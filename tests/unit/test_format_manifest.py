"""Pages, nodes, refmaps and roots: round trips, one encoding per content, and what a careless writer cannot encode."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seawall.repository.errors import IntegrityError, RefmapInvalid
from seawall.repository.format.manifest import (
    LEAF_ENTRY,
    PAGE_BYTES,
    ZERO_CHILD,
    Child,
    InnerNode,
    Leaf,
    Root,
    decode_leaf,
    decode_node,
    decode_root,
    encode_leaf,
    encode_node,
    encode_root,
    entry_offsets,
    leaf_slots,
)
from seawall.repository.format.record import ChunkType, Codec, Locator
from seawall.repository.format.refmap import Refmap, decode_refmap
from seawall.repository.format.slot_set import MAX_SLOTS, SlotSet, decode_slot_set, encode_slot_set, slot_array
from support import format_samples as samples

pack_ids = st.binary(min_size=16, max_size=16)
slot_lists = st.one_of(
    st.lists(st.integers(0, 16_383), min_size=1, max_size=60),
    st.builds(lambda first, count: range(first, first + count), st.integers(0, 8000), st.integers(1, 8000)),
    st.builds(lambda first, step: range(first, 16_384, step), st.integers(0, 16_383), st.integers(2, 40)),
)
hashes = st.binary(min_size=32, max_size=32)


@st.composite
def leaves(draw: st.DrawFn) -> Leaf:
    """As a writer may hold them: packs in any order, unused or repeated, zero entries side by side, chunks that occur again."""
    packs = draw(st.lists(st.tuples(pack_ids, st.integers(0, 3)), min_size=1, max_size=5))
    rows: list[tuple[object, ...]] = []
    data: dict[int, tuple[object, ...]] = {}
    for _ in range(draw(st.integers(1, 40))):
        length = draw(st.integers(1, 1 << 20))
        if draw(st.booleans()):
            rows.append((length, 0, 0, 0, 0, 0, 1, bytes(32)))
            continue
        stored = length + 28 if length < 10 else draw(st.integers(29, length + 27))
        codec = Codec.RAW if length < 10 else Codec.ZSTD
        offset, pack = draw(st.integers(96, 1 << 25)), draw(st.integers(0, len(packs) - 1))
        chunk = (length, stored, offset, pack, offset % 16_384, codec, 0, draw(hashes))
        rows.append(data.setdefault(offset % 16_384, chunk))
    return Leaf(np.array(rows, dtype=LEAF_ENTRY), tuple(packs))


def content(leaf: Leaf) -> list[tuple[object, ...]]:
    """What a leaf says, byte range by byte range: data entries with their pack by name, zero ranges merged."""
    said: list[tuple[object, ...]] = []
    for start, row in zip(entry_offsets(leaf), leaf.entries.tolist(), strict=True):
        length, stored, offset, pack, slot, codec, zero, h = row
        if not zero:
            said.append((start, length, stored, offset, leaf.packs[pack], slot, codec, h))
        elif said and said[-1][0] == "zero":
            said[-1] = ("zero", said[-1][1], start + length)
        else:
            said.append(("zero", start, start + length))
    return said


@settings(deadline=None)
@given(leaves())
def test_leaves_come_back_and_have_one_encoding(leaf: Leaf) -> None:
    body = encode_leaf(leaf)
    read = decode_leaf(body)
    assert content(read) == content(leaf)
    assert encode_leaf(read) == body
    by_pack: dict[bytes, set[int]] = {}
    for row in leaf.entries[leaf.entries["zero"] == 0]:
        by_pack.setdefault(leaf.packs[row["pack"]][0], set()).add(int(row["slot"]))
    assert {pack: slots.tolist() for pack, slots in leaf_slots(read).items()} == {
        pack: sorted(slots) for pack, slots in by_pack.items()
    }


def test_a_page_of_one_zero_run_is_one_entry() -> None:
    entries = np.zeros(64, dtype=LEAF_ENTRY)
    entries["length"], entries["zero"] = PAGE_BYTES // 64, 1
    read = decode_leaf(encode_leaf(Leaf(entries, ())))
    assert read.entries["length"].tolist() == [PAGE_BYTES]
    assert leaf_slots(read) == {}


def good_entries() -> NDArray[np.void]:
    return np.array([(4096, 1000, 5000, 0, 3, Codec.ZSTD, 0, b"h" * 32)] * 2, dtype=LEAF_ENTRY)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("length", 0),
        ("length", PAGE_BYTES),
        ("stored_bytes", 5000),
        ("stored_bytes", 28),
        ("offset", 95),
        ("offset", 0xFFFFFFFF),
        ("pack", 1),
        ("slot", 16_384),
        ("codec", 2),
        ("codec", Codec.RAW),
        ("zero", 1),
        ("zero", 2),
    ],
)
def test_what_could_not_be_read_is_not_written(field: str, value: int) -> None:
    entries = good_entries()
    assert decode_leaf(encode_leaf(Leaf(entries, ((b"p" * 16, 0),)))).entries.tobytes() == entries.tobytes()
    entries[field][1] = value
    with pytest.raises(ValueError):
        encode_leaf(Leaf(entries, ((b"p" * 16, 0),)))


@pytest.mark.parametrize(("field", "value"), [("h", b"g" * 32), ("offset", 6000), ("slot", 4), ("length", 8192)])
def test_one_place_of_a_pack_is_one_chunk(field: str, value: object) -> None:
    """Else a reader, who proves each place once, would prove one chunk and write it for the other."""
    entries = good_entries()
    entries[field][1] = value
    with pytest.raises(ValueError, match="different chunks"):
        encode_leaf(Leaf(entries, ((b"p" * 16, 0),)))


def test_an_empty_leaf_is_none() -> None:
    with pytest.raises(ValueError):
        encode_leaf(Leaf(np.zeros(0, dtype=LEAF_ENTRY), ()))


@given(slot_lists)
def test_slot_sets_come_back(slots: list[int]) -> None:
    body = encode_slot_set(slot_array(slots))
    read, end = decode_slot_set(b"before" + body, 6)
    assert read.tolist() == sorted(set(slots))
    assert end == 6 + len(body)
    assert len(body) <= 7 + min(2 * len(set(slots)), 2048)


@pytest.mark.parametrize("count", [0, 1, 2, 8, 9, MAX_SLOTS - 1, MAX_SLOTS])
def test_all_slots_of_a_pack_are_the_set_of_them(count: int) -> None:
    assert SlotSet.first(count) == SlotSet.of(range(count))


def test_no_pack_has_more_slots_than_the_most() -> None:
    with pytest.raises(ValueError):
        SlotSet.first(MAX_SLOTS + 1)


locators = st.builds(
    Locator,
    pack_id=pack_ids,
    generation=st.integers(0, 1),
    slot=st.integers(0, 16_383),
    offset=st.integers(96, 1 << 25),
    stored_bytes=st.just(600),
    raw_bytes=st.integers(573, 1 << 24),
    codec=st.just(Codec.ZSTD),
)
children = st.one_of(
    st.just(ZERO_CHILD),
    st.builds(
        lambda h, chunk, slots: Child(h, chunk, {pack: slot_array(some) for pack, some in slots.items()}),
        hashes,
        locators,
        st.dictionaries(pack_ids, slot_lists, max_size=4),
    ),
)


def same(one: Child, other: Child) -> bool:
    slots = [{pack: some.tolist() for pack, some in child.slots.items()} for child in (one, other)]
    return (one.h, one.chunk) == (other.h, other.chunk) and slots[0] == slots[1]


@settings(deadline=None, max_examples=50)
@given(st.lists(children, min_size=1, max_size=12))
def test_nodes_come_back(some: list[Child]) -> None:
    body = encode_node(InnerNode(tuple(some)))
    read = decode_node(body)
    assert len(read.children) == len(some)
    assert all(map(same, read.children, some))
    assert encode_node(read) == body


def test_a_full_node_is_small() -> None:
    """1,000 neighbouring slots a page cost tens of bytes, not kilobytes."""
    chunk = Locator(b"m" * 16, 0, 1, 200, 600, 60_000, Codec.ZSTD)
    slots = {bytes([page]) * 16: np.arange(300, 1300, dtype=np.uint16) for page in range(256)}
    node = InnerNode(tuple(Child(b"h" * 32, chunk, {pack: some}) for pack, some in slots.items()))
    assert len(encode_node(node)) < 256 * 120


def test_misshapen_nodes_are_not_written() -> None:
    chunk = Locator(b"m" * 16, 0, 1, 200, 600, 60_000, Codec.ZSTD)
    good = Child(b"h" * 32, chunk, {b"p" * 16: slot_array([1])})
    for bad in (
        Child(b"", chunk, {}),
        Child(b"", None, good.slots),
        Child(b"h" * 32, replace(chunk, slot=16_384), {}),
        Child(b"h" * 32, replace(chunk, raw_bytes=10), {}),
        Child(b"h" * 32, chunk, {b"p" * 16: slot_array([])}),
    ):
        with pytest.raises(ValueError):
            encode_node(InnerNode((good, bad)))
    for count in (0, 257):
        with pytest.raises(ValueError):
            encode_node(InnerNode((good,) * count))


@settings(deadline=None)
@given(st.lists(st.tuples(pack_ids, slot_lists), max_size=8), st.randoms())
def test_a_refmap_is_a_set_with_one_encoding(parts: list[tuple[bytes, list[int]]], random: object) -> None:
    forward, backward = Refmap(), Refmap()
    expected: dict[bytes, set[int]] = {}
    for pack_id, slots in parts:
        forward.add(pack_id, slots)
        expected.setdefault(pack_id, set()).update(slots)
    for pack_id, slots in reversed(parts):
        backward.add(pack_id, np.array(slots, dtype=np.uint16))
        backward.add(pack_id, slots)
    body = forward.encode("default")
    assert backward.encode("default") == body
    tenant, read = decode_refmap(body)
    assert tenant == "default"
    assert {pack: slots.tolist() for pack, slots in read.slots().items()} == {
        pack: sorted(slots) for pack, slots in expected.items()
    }


def test_a_refmap_of_a_strange_tenant_or_pack_is_refused() -> None:
    with pytest.raises(ValueError):
        Refmap().encode("../other")
    with pytest.raises(ValueError):
        Refmap().add(b"short", [1])
    with pytest.raises(ValueError):
        Refmap().add(b"p" * 16, [16_384])
    with pytest.raises(RefmapInvalid):
        decode_refmap(b"")


def sample_root() -> Root:
    stored = samples.record(b"node", 1, ChunkType.META)
    return samples.root(stored, samples.pack([stored]))


def test_roots_come_back_exactly() -> None:
    root = sample_root()
    assert decode_root(encode_root(root)) == root
    bare = replace(root, checkpoint=None, warnings=(), members=(), disks=(), parent_point_id=samples.VM)
    assert decode_root(encode_root(bare)) == bare


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "Default"},
        {"vm_id": "../../etc"},
        {"point_id": ""},
        {"lineage_id": b"short"},
        {"instant_us": -1},
    ],
)
def test_malformed_roots_are_not_written(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        encode_root(replace(sample_root(), **change))  # type: ignore[arg-type]


def test_a_root_has_the_nodes_of_its_disks_size() -> None:
    root = sample_root()
    disk = root.disks[0]
    for bad in (replace(disk, nodes=disk.nodes[:1]), replace(disk, size_bytes=512), replace(disk, nodes=())):
        with pytest.raises(ValueError):
            encode_root(replace(root, disks=(bad,)))
    with pytest.raises(ValueError, match="twice"):
        encode_root(replace(root, disks=(disk, disk)))
    with_slots = replace(disk.nodes[0], slots={b"p" * 16: slot_array([1])})
    with pytest.raises(ValueError, match="carry no slots"):
        encode_root(replace(root, disks=(replace(disk, nodes=(with_slots, ZERO_CHILD)),)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"checkpoint"', b'{ "checkpoint"'),
        (b'"key_epoch":1', b'"key_epoch":1.0'),
        (b'"key_epoch":1', b'"key_epoch":true'),
        (b'"key_epoch":1', b'"key_epoch":1,"key_epoch":1'),
        (b'"key_epoch":1', b'"key_epoch":1,"unknown":1'),
        (b'"guest_frozen":true', b'"guest_frozen":1'),
        (b'"vm_name":"web-m\\u00fcnchen"', b'"vm_name":"\\ud800"'),
        (b'"warnings":[', b'"warnings":' + b"[" * 100_000),
    ],
)
def test_json_in_any_other_form_is_refused(old: bytes, new: bytes) -> None:
    body = encode_root(sample_root())
    assert old in body
    with pytest.raises(IntegrityError):
        decode_root(body.replace(old, new))
