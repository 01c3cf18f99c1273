"""A disk whose bitmap tells of another disk is noticed by what it holds."""

import random

import pytest

from seawall.agent.capture.port import CapturedDisk
from seawall.agent.worker.continuity import WHY, AllDirty, agrees, continued
from seawall.repository.format.manifest import PAGE_BYTES
from seawall.repository.reading.point import PointReader
from seawall.repository.store.memory import MemoryStore
from support.direct_coordinator import DirectCoordinator
from support.memory_disks import BLOCK, ModelDisk
from support.point_writing import disk, manifest_of, read_point, write_point

MIB = 1 << 20
SIZE = 5 * PAGE_BYTES + 8 * BLOCK
RNG = random.Random


def written(model: ModelDisk) -> PointReader:
    coordinator = DirectCoordinator(MemoryStore())
    reader = read_point(write_point(coordinator, [disk(model.source(), "full")]), coordinator)
    model.forget_changes()
    return reader


def filled(seed: int, *pages: int) -> ModelDisk:
    """A MiB at the begin of each page, and the disk's end."""
    model, rng = ModelDisk(SIZE), random.Random(seed)
    for page in pages:
        model.write(page * PAGE_BYTES, rng.randbytes(MIB))
    return model


def captured(model: ModelDisk) -> CapturedDisk:
    return CapturedDisk("vda", model.size_bytes, "qcow2", "/vda", 512, "bitmap", "why", model.source())


def test_a_disk_that_goes_on_is_read_by_its_bitmap() -> None:
    model = filled(1, 0, 3)
    reader = written(model)
    model.write(3 * PAGE_BYTES, b"new" * 9000)
    model.discard(0, 4)
    given = captured(model)
    assert continued([given], reader, "r1") == [given]


@pytest.mark.parametrize("seed", range(8))
def test_another_disk_with_a_bitmap_of_the_same_name_is_compared(seed: int) -> None:
    reader = written(filled(1, 0, 3))
    other = filled(2, 0, 3)
    other.forget_changes()
    other.write(8 * MIB, b"new")
    (found,) = continued([captured(other)], reader, f"r{seed}")
    assert (found.how, found.why) == ("compare", WHY)
    assert all(one.dirty for one in found.source.extents(0, SIZE))
    assert any(one.zero for one in found.source.extents(0, SIZE)), "zeroes are not read"


def test_an_attempt_that_goes_on_with_anothers_instant_finds_what_that_one_found() -> None:
    """Where one page of five differs, a sample of three may see it or not: the first attempt did, and was killed."""
    model, other = filled(1, *range(5)), filled(1, *range(5))
    reader = written(model)
    other.write(2 * PAGE_BYTES, random.Random(2).randbytes(MIB))
    other.forget_changes()
    found = [continued([captured(other)], reader, f"r{number % 8}")[0].how for number in range(16)]
    assert found[:8] == found[8:] and set(found) == {"bitmap", "compare"}


def test_it_is_noticed_in_the_one_page_that_has_data() -> None:
    reader = written(filled(1, 3))
    other = filled(2, 3)
    other.forget_changes()
    assert not agrees(reader, manifest_of(reader), other.source(), RNG(1))


def test_what_the_bitmap_calls_changed_proves_nothing() -> None:
    reader = written(filled(1, 0))
    other = filled(2, 0)  # all of it is dirty
    assert agrees(reader, manifest_of(reader), other.source(), RNG(1))


def test_without_a_parent_or_a_bitmap_nothing_is_looked_at() -> None:
    model = filled(1, 0)
    reader = written(model)
    full = CapturedDisk("vda", SIZE, "raw", "/vda", 512, "compare", "why", filled(2, 0).source())
    assert continued([full], reader, "r1") == [full]
    assert continued([captured(model)], None, "r1")[0].how == "bitmap"


def test_a_disk_without_a_bitmap_reads_as_before() -> None:
    model = filled(1, 0)
    model.forget_changes()
    found, buffer = AllDirty(model.source()), bytearray(BLOCK)
    found.read_into(BLOCK, memoryview(buffer))
    assert bytes(buffer) == model.blocks[1] and found.size_bytes == SIZE
