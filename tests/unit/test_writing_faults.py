"""Whatever fails, the writer says the first cause and leaves no thread; a later attempt finds what was stored."""

import threading

import numpy as np
import pytest

from seawall.repository.errors import StoreUnavailable
from seawall.repository.format.manifest import PAGE_BYTES
from seawall.repository.format.pack import SealedPack
from seawall.repository.store.memory import MemoryStore
from seawall.repository.writing.counters import DiskCounters
from seawall.repository.writing.crew import Crew, Lane
from seawall.repository.writing.point import PointWriter
from support.direct_coordinator import DirectCoordinator
from support.memory_disks import ModelDisk
from support.point_writing import (
    SETTINGS,
    disk,
    facts,
    pipeline_threads,
    read_point,
    restored,
    write_point,
)

MIB = 1 << 20


class Stopped(Exception):
    pass


def _fail(error: Exception) -> None:
    raise error


@pytest.fixture
def coordinator() -> DirectCoordinator:
    return DirectCoordinator(MemoryStore())


@pytest.fixture(scope="module")
def model() -> ModelDisk:
    made = ModelDisk(PAGE_BYTES + 24 * MIB)
    made.write(0, np.random.default_rng(4).bytes(40 * MIB))
    return made


@pytest.mark.parametrize("allowed", [0, 1, 5])
def test_a_store_that_fails_ends_the_writing(coordinator: DirectCoordinator, model: ModelDisk, allowed: int) -> None:
    coordinator.fail_store_after = allowed
    coordinator.fault = StoreUnavailable("the store does not answer")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        write_point(coordinator, [disk(model.source(), "full")])
    assert not pipeline_threads()


@pytest.mark.parametrize("allowed", [0, 3])
def test_a_lookup_that_fails_ends_the_writing(coordinator: DirectCoordinator, model: ModelDisk, allowed: int) -> None:
    coordinator.fail_lookup_after = allowed
    with pytest.raises(ConnectionError, match="controller went away"):
        write_point(coordinator, [disk(model.source(), "full")])
    assert not pipeline_threads()


@pytest.mark.parametrize("at", [0, 7 * MIB + 5, 40 * MIB - 1])
def test_a_disk_that_cannot_be_read_ends_the_writing(coordinator: DirectCoordinator, model: ModelDisk, at: int) -> None:
    source = model.source()
    source.fail_at = at
    with pytest.raises(OSError, match=f"cannot be read at byte {at}"):
        write_point(coordinator, [disk(source, "full")])
    assert not pipeline_threads()


def test_the_first_cause_is_what_surfaces() -> None:
    crew = Crew(lambda: None)
    failed = crew.submit(Lane.UPLOAD, _fail, ConnectionError("first"))
    while not failed.done():
        threading.Event().wait(0.001)
    late = crew.submit(Lane.READ, _fail, OSError("second"))
    with pytest.raises(ConnectionError, match="first"):
        crew.result(late)
    crew.close()
    assert not pipeline_threads()


def test_jobs_that_had_not_begun_when_one_failed_do_not_run() -> None:
    crew = Crew(lambda: None)
    entered, release, ran = threading.Event(), threading.Event(), threading.Event()

    def fail_late() -> None:
        entered.set()
        assert release.wait(30)
        raise ConnectionError

    first = [crew.submit(Lane.UPLOAD, fail_late) for _ in range(2)]
    queued = crew.submit(Lane.UPLOAD, ran.set)
    assert entered.wait(30)
    release.set()
    with pytest.raises(ConnectionError):
        crew.result(queued)
    crew.close()
    assert all(one.done() for one in first) and not ran.is_set()


@pytest.mark.parametrize("calls", [1, 10, 40])
def test_stop_ends_the_writing_at_any_time(coordinator: DirectCoordinator, model: ModelDisk, calls: int) -> None:
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked >= calls:
            raise Stopped

    with pytest.raises(Stopped):
        write_point(coordinator, [disk(model.source(), "full")], stop=stop)
    assert not pipeline_threads()


def test_stop_is_heard_while_everything_waits_for_the_store(model: ModelDisk) -> None:
    """Uploads hang: the writer must still ask `stop`, and end once the hanging calls do."""

    class Hanging(DirectCoordinator):
        def __init__(self) -> None:
            super().__init__(MemoryStore())
            self.entered = threading.Event()
            self.release = threading.Event()

        def store_pack(self, pack: SealedPack) -> None:
            self.entered.set()
            assert self.release.wait(30)

    coordinator = Hanging()
    reached: list[bool] = []

    def stop() -> None:
        if coordinator.entered.is_set():
            reached.append(True)
        if len(reached) > 4:
            coordinator.release.set()
            raise Stopped

    with pytest.raises(Stopped):
        write_point(coordinator, [disk(model.source(), "full")], stop=stop)
    assert not pipeline_threads()


def test_extents_with_a_gap_are_refused(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    source = model.source()
    whole = source.extents
    source.extents = lambda offset, length: whole(offset, length)[1:]  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="do not follow one another"):
        write_point(coordinator, [disk(source, "full")])


def test_a_second_attempt_stores_only_what_is_missing(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    coordinator.fail_store_after = 20
    with pytest.raises(ConnectionError):
        write_point(coordinator, [disk(model.source(), "full")])
    stored = sum(one.table["raw_bytes"].sum() for one in coordinator.packs if not one.meta)
    coordinator.fail_store_after = None
    counters = DiskCounters()
    point = write_point(coordinator, [disk(model.source(), "full")], counters=counters)
    assert stored >= 15 * MIB
    assert point.disks[0].new_bytes <= 40 * MIB + 256 * 1024 - stored
    assert (counters.done, counters.planned_bytes, counters.read_bytes) == (True, 40 * MIB, 40 * MIB)
    assert restored(read_point(point, coordinator)) == model.blocks


def test_leaving_without_finish_leaves_no_thread(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    with PointWriter(SETTINGS, coordinator) as writer:
        writer.write_disk(disk(model.source(), "full"))
        assert pipeline_threads()
    assert not pipeline_threads()


def test_a_point_without_disks_has_members_only(coordinator: DirectCoordinator) -> None:
    with PointWriter(SETTINGS, coordinator) as writer:
        writer.add_member("domain.xml", b"<domain/>")
        point = writer.finish(facts(1))
    assert read_point(point, coordinator).member("domain.xml") == b"<domain/>"
