"""The memory of a stored pack is used for a later one, but never while anybody still holds a part of it."""

import numpy as np
from blake3 import blake3

from seawall.repository.format.pack import SealedPack
from seawall.repository.store.memory import MemoryStore
from support.direct_coordinator import DirectCoordinator
from support.memory_disks import ModelDisk
from support.point_writing import disk, read_point, restored, write_point

MIB = 1 << 20


class _Watching(DirectCoordinator):
    """Notes in which memory each data pack lies; `hold`: keeps a view of every second one, as a hanging request would."""

    def __init__(self, *, hold: bool) -> None:
        super().__init__(MemoryStore())
        self._hold = hold
        self.memories: list[bytearray] = []
        self.held: list[tuple[bytes, memoryview]] = []

    def store_pack(self, pack: SealedPack) -> None:
        super().store_pack(pack)
        if not pack.meta:
            view = memoryview(pack.body)
            assert isinstance(view.obj, bytearray)
            self.memories.append(view.obj)
            if self._hold and len(self.memories) % 2:
                self.held.append((pack.pack_id, view[:]))


def _disk() -> ModelDisk:
    made = ModelDisk(24 * MIB)
    made.write(0, np.random.default_rng(8).bytes(24 * MIB))
    return made


def test_memory_is_used_again_and_every_byte_is_right() -> None:
    coordinator, model = _Watching(hold=False), _disk()
    point = write_point(coordinator, [disk(model.source(), "full")])
    assert len(coordinator.memories) >= 20
    assert len({id(memory) for memory in coordinator.memories}) <= 5
    assert restored(read_point(point, coordinator)) == dict(model.blocks)


def test_a_pack_that_somebody_holds_stays_as_it_was() -> None:
    coordinator, model = _Watching(hold=True), _disk()
    point = write_point(coordinator, [disk(model.source(), "full")])
    assert len(coordinator.held) >= 10
    for pack_id, view in coordinator.held:
        assert blake3(view).digest(length=16) == pack_id
    assert restored(read_point(point, coordinator)) == dict(model.blocks)
