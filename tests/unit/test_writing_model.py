"""A disk is edited, a point is written, again and again; every point must restore to what the disk was, whatever came later."""

from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.repository.format.manifest import PAGE_BYTES
from seawall.repository.reading.point import PointReader
from seawall.repository.store.memory import MemoryStore
from support.direct_coordinator import DirectCoordinator
from support.memory_disks import BLOCK, ModelDisk
from support.point_writing import (
    SMALL,
    check_refmap,
    chunk_list,
    disk,
    pipeline_threads,
    read_point,
    restored,
    write_point,
)

BORDER = PAGE_BYTES
SIZES = st.sampled_from([BORDER + 700 * BLOCK, BORDER + 512, BORDER, 900 * BLOCK + 1536, 2 * BORDER + 30 * BLOCK])
PLACES = st.one_of(st.integers(0, 1200), st.integers(BORDER // BLOCK - 200, BORDER // BLOCK + 700))


@dataclass(frozen=True)
class Edit:
    kind: str
    block: int
    blocks: int
    odd: int
    seed: int


EDITS = st.builds(
    Edit,
    st.sampled_from(["random", "random", "repeat", "discard", "copy", "resize", "rewrite"]),
    PLACES,
    st.integers(1, 150),
    st.integers(0, BLOCK - 1),
    st.integers(0, 1 << 30),
)
POINTS = st.lists(
    st.tuples(st.lists(EDITS, max_size=4), st.sampled_from(["bitmap", "bitmap", "compare", "full"]), st.booleans()),
    min_size=2,
    max_size=4,
)


def apply(model: ModelDisk, edit: Edit) -> None:
    start = edit.block * BLOCK + edit.odd
    length = min(edit.blocks * BLOCK, model.size_bytes - start)
    if edit.kind == "resize":
        model.resize(max(512, start // 512 * 512))
    elif length <= 0:
        return
    elif edit.kind == "discard":
        model.discard(edit.block, edit.blocks)
    elif edit.kind == "random":
        model.write(start, np.random.default_rng(edit.seed).bytes(length))
    elif edit.kind == "repeat":
        model.write(start, b"\7" * length)
    elif edit.kind == "copy":
        model.write(
            edit.block * BLOCK, b"".join(model.blocks.get(one, bytes(BLOCK)) for one in range(edit.blocks))[:length]
        )
    else:
        for block in range(edit.block, edit.block + length // BLOCK):
            model.write(block * BLOCK, model.blocks.get(block, bytes(BLOCK)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(size=SIZES, points=POINTS, zeros_known=st.booleans(), granularity=st.sampled_from([1, 16]))
def test_every_point_restores(
    size: int, points: list[tuple[list[Edit], str, bool]], zeros_known: bool, granularity: int
) -> None:
    coordinator = DirectCoordinator(MemoryStore())
    model = ModelDisk(size)
    model.write(40 * BLOCK, np.random.default_rng(size).bytes(300 * BLOCK))
    written: list[tuple[PointReader, dict[int, bytes]]] = []
    for number, (edits, how, other_parent) in enumerate(points, start=1):
        for edit in edits:
            apply(model, edit)
        parent = written[-1][0] if written else None
        if how == "compare" and other_parent and written:
            parent = written[0][0]  # tracking is lost: any point will do to compare with
        source = model.source(zeros_known=zeros_known or number % 2 == 0, granularity_blocks=granularity)
        point = write_point(coordinator, [disk(source, how)], number=number, settings=SMALL, parent=parent)
        model.forget_changes()
        reader = read_point(point, coordinator, SMALL)
        written.append((reader, dict(model.blocks)))
        check_refmap(point, reader)
        assert point.disks[0].read_bytes == source.read_bytes
    for reader, blocks in written:
        assert restored(reader) == blocks
    fresh = DirectCoordinator(MemoryStore())
    again = write_point(fresh, [disk(model.source(), "full")], settings=SMALL)
    assert chunk_list(read_point(again, fresh, SMALL)) == chunk_list(written[-1][0])
    assert not pipeline_threads()
