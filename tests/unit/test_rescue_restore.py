"""Rescuing a point to image files: byte for byte, resumed after every stop, and over damage without ever a wrong byte."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import pytest

from seawall.cli.output import Output
from seawall.cli.rescue.text import print_outcome
from seawall.cli.rescue.view import outcome_document
from seawall.repository.clock import SystemClock
from seawall.repository.errors import IntegrityError, ObjectMissing, RepositoryError
from seawall.repository.format.layout import pack_name, refmap_name
from seawall.repository.format.leaf import Leaf
from seawall.repository.reading.damage import Damage
from seawall.repository.reading.restore import restore_disk
from seawall.repository.rescue.catalogue import find_point
from seawall.repository.rescue.errors import DiskUnknown, TargetExists, TargetUnfit
from seawall.repository.rescue.files import JOURNAL, PARTIAL
from seawall.repository.rescue.image_file import Found
from seawall.repository.rescue.opening import RescuePoint, open_for_rescue
from seawall.repository.rescue.plan import FolderPlan, plan_folder
from seawall.repository.rescue.restore import DiskState, RescueRun
from seawall.repository.store.memory import MemoryStore
from support.libvirt_host import await_true
from support.memory_disks import MemorySink, ModelDisk
from support.rescue_world import DOMAIN_XML, MIB, VM, RescueWorld, differences, patterned, point_id, stored_bytes

POINT = point_id(1)
PAGE = 64 * MIB


class Stopped(Exception):
    """The process was killed here."""


@pytest.fixture(scope="module")
def disks() -> dict[str, ModelDisk]:
    """Four pages with content, one without; a size that is no multiple of 4,096; a small second disk and an empty third."""
    places = [
        (0, MIB),
        (PAGE + 5 * MIB, MIB),
        (3 * PAGE + 100 * 4096, MIB),
        (4 * PAGE, 2 * MIB),
        (5 * PAGE - 512, 1024),
    ]
    return {
        "vda": patterned(5 * PAGE + 512, 1, *places),
        "vdb": patterned(3 * MIB, 2, (MIB, MIB)),
        "vdc": ModelDisk(MIB),
    }


@pytest.fixture(scope="module")
def whole_world(disks: dict[str, ModelDisk]) -> RescueWorld:
    made = RescueWorld(MemoryStore())
    made.back_up(1, disks)
    return made


@pytest.fixture
def world(whole_world: RescueWorld) -> RescueWorld:
    """A copy that may be damaged."""
    return whole_world.copied_to(MemoryStore())


def opened(world: RescueWorld) -> RescuePoint:
    rescue = open_for_rescue(world.store, world.material)
    return rescue.point(find_point(rescue, POINT))


def rescue(
    world: RescueWorld,
    out: Path,
    *wanted: str,
    keep_going: bool = False,
    stop: Callable[[], None] = lambda: None,
) -> RescueRun:
    point = opened(world)
    run = RescueRun(point, plan_folder(point, out, wanted, keep_going=keep_going), SystemClock(), keep_going=keep_going)
    run.run(stop)
    return run


def test_every_disk_comes_back_with_its_holes(world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path) -> None:
    run = rescue(world, tmp_path / "out")
    assert run.complete
    assert sorted(os.listdir(tmp_path / "out")) == ["HOW-TO-USE.txt", "domain.xml", "vda.raw", "vdb.raw", "vdc.raw"]
    for name, model in disks.items():
        assert differences(model, tmp_path / "out" / f"{name}.raw") == []
    assert stored_bytes(tmp_path / "out" / "vda.raw") < 8 * MIB
    assert stored_bytes(tmp_path / "out" / "vdc.raw") == 0
    assert (tmp_path / "out" / "domain.xml").read_bytes() == DOMAIN_XML
    with pytest.raises(TargetExists):
        rescue(world, tmp_path / "out")


def test_chosen_disks_and_unknown_ones(world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path) -> None:
    rescue(world, tmp_path / "out", "vdb")
    assert differences(disks["vdb"], tmp_path / "out" / "vdb.raw") == []
    assert not (tmp_path / "out" / "vda.raw").exists()
    rescue(world, tmp_path / "out", "vdc")  # the small files are the same: no conflict
    with pytest.raises(DiskUnknown, match="vda, vdb, vdc"):
        rescue(world, tmp_path / "new", "sda")
    assert not (tmp_path / "new").exists()


def stop_after(calls: int) -> Callable[[], None]:
    left = calls

    def stop() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stopped

    return stop


def test_stopped_anywhere_it_goes_on(world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path) -> None:
    """Stopped after one step, then after two more, and so on, until it gets through; never does a final name hold a wrong byte."""
    out = tmp_path / "out"
    kept = 0
    for steps in range(1, 60):
        try:
            run = rescue(world, out, stop=stop_after(steps))
        except Stopped:
            for name, model in disks.items():
                if (out / f"{name}.raw").exists():
                    assert differences(model, out / f"{name}.raw") == []
            continue
        break
    assert run.complete
    kept = sum(disk.counters.kept_bytes for disk in run.disks)
    assert kept > 0 or any(disk.state is DiskState.KEPT for disk in run.disks)
    for name, model in disks.items():
        assert differences(model, out / f"{name}.raw") == []
    assert sorted(os.listdir(out)) == ["HOW-TO-USE.txt", "domain.xml", "vda.raw", "vdb.raw", "vdc.raw"]


class ForgetfulStore(MemoryStore):
    """Its `last` read of a pack, counted from the first, waits until `until` holds, and fails: as when the network is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.last: int | None = None
        self.until: Callable[[], bool] = lambda: True
        self._counting = Lock()

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        if name.startswith("v1/p/"):
            with self._counting:
                self.reads += 1
                number = self.reads
            if number == self.last:
                await_true(self.until, "other pages are noted down")
                raise Stopped
        return super().get_range(name, offset, length)


def unfinished(world: RescueWorld, out: Path, least: int = 2) -> set[int]:
    """An attempt that was cut short after at least so many pages of vda; which."""
    store, journal = world.store, out / ("vda.raw" + JOURNAL)
    assert isinstance(store, ForgetfulStore)
    rescue(world, out.with_name("counted"), "vda")
    store.reads, store.last = 0, store.reads
    store.until = lambda: journal.exists() and len(journal.read_text().splitlines()) > least
    with pytest.raises(Stopped):
        rescue(world, out, "vda")
    store.last = None
    plan = plan_folder(opened(world), out, ["vda"], keep_going=False)
    assert plan.images[0].state.found is Found.UNFINISHED
    assert len(plan.images[0].state.pages) >= least
    return set(plan.images[0].state.pages)


@pytest.fixture
def cut_world(whole_world: RescueWorld) -> RescueWorld:
    return whole_world.copied_to(ForgetfulStore())


def test_what_was_written_is_kept_and_not_fetched_again(
    cut_world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    pages = unfinished(cut_world, tmp_path / "out")
    run = rescue(cut_world, tmp_path / "out", "vda")
    assert run.disks[0].counters.kept_bytes == sum(min(PAGE, 5 * PAGE + 512 - page * PAGE) for page in pages)
    assert run.disks[0].counters.fetched_bytes < 5 * MIB
    assert differences(disks["vda"], tmp_path / "out" / "vda.raw") == []


def test_what_changed_meanwhile_is_fetched_again(
    cut_world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    """A crash of the machine, or a hand, may have done anything to the file: in a chunk, in zeroes, beyond its end."""
    out = tmp_path / "out"
    pages = unfinished(cut_world, out)
    page = min(pages)
    with open(out / ("vda.raw" + PARTIAL), "r+b") as file:
        file.seek(page * PAGE + 40 * MIB)
        file.write(b"stale")
        file.seek(max(pages) * PAGE + (100 * 4096 if max(pages) == 3 else 5 * MIB if max(pages) == 1 else 0) + 7)
        file.write(b"!")
        file.seek(2 * PAGE + 77)  # where the disk has nothing
        file.write(b"stale")
        file.truncate(5 * PAGE)
    with open(out / ("vda.raw" + JOURNAL), "ab") as journal:
        journal.write(b"4\n2\n3\n1\n0\n999999\n12")
    run = rescue(cut_world, out, "vda")
    assert run.complete
    assert differences(disks["vda"], out / "vda.raw") == []


# -- damage


def test_what_a_later_generation_stands_in_for_is_whole_and_told(
    world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy was healed, and the store kept what was altered: without --keep-going too."""
    name = world.chunk_place(POINT, "vda", 1, 2)[0]
    world.store.put(name[:-1] + "1", world.store.get(name))
    chunk_damage(world)
    rescue_of = open_for_rescue(world.store, world.material)
    plan = plan_folder(opened(world), tmp_path / "out", (), keep_going=False)
    point = rescue_of.point(find_point(rescue_of, POINT))
    run = RescueRun(point, plan, SystemClock())
    run.run()
    assert run.complete and not any(disk.damages for disk in run.disks)
    for disk, model in disks.items():
        assert differences(model, tmp_path / "out" / f"{disk}.raw") == []
    (told,) = run.passed_over
    assert told.startswith(name)
    print_outcome(Output(as_json=False), plan, run)
    assert f"altered   {name}" in capsys.readouterr().out
    notes = outcome_document(rescue_of, point, plan, run)["notes"]
    assert isinstance(notes, list) and [note for note in notes if name in note]


def chunk_damage(world: RescueWorld) -> tuple[str, int, int]:
    name, at, start, length = world.chunk_place(POINT, "vda", 1, 2)
    world.flip(name, at + 40)
    return name, start, length


def assert_only_lost(model: ModelDisk, image: Path, ranges: list[tuple[int, int]]) -> None:
    """Zeroes in the ranges, the disk's bytes everywhere else."""
    expected = ModelDisk(model.size_bytes)
    expected.blocks = dict(model.blocks)
    for offset, length in ranges:
        end = min(offset + length, model.size_bytes)
        expected.write(offset, bytes(end - offset))
    assert differences(expected, image) == []


def test_a_damaged_chunk_ends_it_with_object_disk_and_bytes(world: RescueWorld, tmp_path: Path) -> None:
    name, start, length = chunk_damage(world)
    with pytest.raises(IntegrityError) as caught:
        rescue(world, tmp_path / "out")
    for part in (name, "disk vda", f"byte {start} to {start + length - 1}", POINT):
        assert part in str(caught.value)
    assert not (tmp_path / "out" / "vda.raw").exists()


def test_keep_going_loses_the_damaged_chunk_and_nothing_else(
    world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    name, start, length = chunk_damage(world)
    out = tmp_path / "out"
    run = rescue(world, out, keep_going=True)
    assert not run.complete
    assert [disk.state for disk in run.disks] == [DiskState.DAMAGED, DiskState.DONE, DiskState.DONE]
    (damage,) = run.disks[0].damages
    assert (damage.object_name, damage.ranges) == (name, ((start, length),))
    assert_only_lost(disks["vda"], out / "vda.raw", [(start, length)])
    document = json.loads((out / "vda.raw.damaged.json").read_text())
    assert document["point_id"] == POINT
    assert document["damages"][0]["ranges"] == [{"offset": start, "length": length}]
    assert document["damages"][0]["object_name"] == name


class Tolerant:
    """A PageFollower that holds nothing and goes on over everything."""

    def __init__(self) -> None:
        self.damages: list[Damage] = []
        self.done: list[int] = []

    def holds(self, index: int, leaf: Leaf) -> bool:
        return False

    def page_done(self, index: int) -> None:
        self.done.append(index)

    def lost(self, damage: Damage, cause: RepositoryError) -> None:
        self.damages.append(damage)


def test_what_is_lost_is_zeroed_whatever_the_target_held_and_every_byte_is_covered_once(world: RescueWorld) -> None:
    """On a device there is something else before; the sink notes what nobody wrote."""
    chunk_damage(world)
    lose_leaf(world, 3)
    point, follower = opened(world), Tolerant()
    manifest = point.root.disks[0]
    sink = MemorySink(manifest.size_bytes)
    restore_disk(point.reader, manifest, sink, follower=follower)
    sink.content()
    lost = {each for damage in follower.damages for each in damage.ranges}
    assert (3 * PAGE, PAGE) in lost and len(lost) == 2
    assert lost <= set(sink.zeroed)
    assert set(follower.done) == {0, 4, 5}, "pages with damage are not done"


def test_of_a_pack_that_ends_early_every_whole_chunk_is_saved(
    world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    name, at, start, _ = world.chunk_place(POINT, "vda", 1, 6)
    behind = world.bytes_behind(POINT, "vda", name, at)
    world.store.put(name, world.store.get(name)[: at + 10], create_only=False)
    run = rescue(world, tmp_path / "out", "vda", keep_going=True)
    ranges = [each for damage in run.disks[0].damages for each in damage.ranges]
    assert min(offset for offset, _ in ranges) == start
    assert_only_lost(disks["vda"], tmp_path / "out" / "vda.raw", ranges)
    assert sum(length for _, length in ranges) == behind > 0


def test_a_missing_pack_is_named_with_all_that_it_costs(
    world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    name, *_ = world.chunk_place(POINT, "vda", 4, 0)
    world.store.delete(name)
    with pytest.raises(ObjectMissing, match=name):
        rescue(world, tmp_path / "first", "vda")
    run = rescue(world, tmp_path / "out", "vda", keep_going=True)
    assert {damage.object_name for damage in run.disks[0].damages} == {name}
    lost = [each for damage in run.disks[0].damages for each in damage.ranges]
    assert_only_lost(disks["vda"], tmp_path / "out" / "vda.raw", lost)


@pytest.mark.parametrize("generation", [0, 1])
def test_meta_packs_are_read_from_their_other_copy(
    world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path, generation: int
) -> None:
    """Leaves, nodes and members lie in them."""
    for name in world.packs(meta=True, generation=generation):
        if generation:
            world.store.delete(name)
            continue
        size = len(world.store.get(name))
        for at in range(100, size, 200):
            world.flip(name, at)
    run = rescue(world, tmp_path / "out")
    assert run.complete
    assert differences(disks["vda"], tmp_path / "out" / "vda.raw") == []
    assert (tmp_path / "out" / "domain.xml").read_bytes() == DOMAIN_XML


def lose_leaf(world: RescueWorld, page: int) -> str:
    reader = world.readers[POINT]
    manifest = reader.root.disks[0]
    chunk = reader.page(manifest, page).chunk
    assert chunk is not None
    for generation in (0, 1):
        world.flip(pack_name("default", chunk.pack_id, generation), chunk.offset + 20)
    return pack_name("default", chunk.pack_id, 0)


def test_a_lost_leaf_costs_its_page(world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path) -> None:
    name = lose_leaf(world, 3)
    with pytest.raises(IntegrityError, match=rf"disk vda, byte {3 * PAGE} to {4 * PAGE - 1}: .*{name}.*its other copy"):
        rescue(world, tmp_path / "first")
    run = rescue(world, tmp_path / "out", keep_going=True)
    assert [damage.ranges for damage in run.disks[0].damages] == [((3 * PAGE, PAGE),)]
    assert_only_lost(disks["vda"], tmp_path / "out" / "vda.raw", [(3 * PAGE, PAGE)])


def test_a_lost_node_costs_all_below_it_and_no_other_disk(
    world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    chunk = world.readers[POINT].root.disks[0].nodes[0].chunk
    assert chunk is not None
    for generation in (0, 1):
        world.flip(pack_name("default", chunk.pack_id, generation), chunk.offset + 20)
    run = rescue(world, tmp_path / "out", keep_going=True)
    size = disks["vda"].size_bytes
    assert [damage.ranges for damage in run.disks[0].damages] == [((0, size),)]
    assert_only_lost(disks["vda"], tmp_path / "out" / "vda.raw", [(0, size)])
    assert differences(disks["vdb"], tmp_path / "out" / "vdb.raw") == []


def test_a_lost_domain_xml_is_said_and_costs_no_disk(
    world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    (member,) = world.readers[POINT].root.members
    for generation in (0, 1):
        world.flip(pack_name("default", member.chunk.pack_id, generation), member.chunk.offset + 20)
    with pytest.raises(IntegrityError, match=r"domain\.xml"):
        rescue(world, tmp_path / "first")
    run = rescue(world, tmp_path / "out", keep_going=True)
    assert not run.complete
    assert differences(disks["vda"], tmp_path / "out" / "vda.raw") == []
    assert not (tmp_path / "out" / "domain.xml").exists()


def test_tables_footers_and_refmaps_do_not_matter(
    world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    for name in [*world.packs(meta=False), *world.packs(meta=True)]:
        for back in (1, 60, 100, 140, 200):
            world.flip(name, len(world.store.get(name)) - back)
    world.flip(refmap_name("default", str(VM), POINT), 20)
    run = rescue(world, tmp_path / "out")
    assert run.complete
    assert differences(disks["vda"], tmp_path / "out" / "vda.raw") == []


def test_an_image_that_lost_parts_is_known_as_such_when_the_rescue_goes_on(
    world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    _, start, length = chunk_damage(world)
    out = tmp_path / "out"
    steps = 0
    while not (out / "vda.raw").exists():
        steps += 1
        with pytest.raises(Stopped):
            rescue(world, out, keep_going=True, stop=stop_after(steps))
    run = rescue(world, out, keep_going=True)
    assert not run.complete
    assert run.disks[0].state is DiskState.DAMAGED
    assert run.disks[0].damages[0].ranges == ((start, length),)
    assert_only_lost(disks["vda"], out / "vda.raw", [(start, length)])


def test_once_the_repository_is_mended_a_rescue_goes_on_to_the_end(
    world: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    name, *_ = chunk_damage(world)
    with pytest.raises(IntegrityError):
        rescue(world, tmp_path / "out")
    at = world.chunk_place(POINT, "vda", 1, 2)[1]
    world.flip(name, at + 40)
    assert rescue(world, tmp_path / "out").complete
    assert differences(disks["vda"], tmp_path / "out" / "vda.raw") == []


# -- what an agent may have written into a root


def test_names_of_disks_and_members_make_no_paths(tmp_path: Path) -> None:
    world = RescueWorld(MemoryStore())
    evil = {
        "../../escape": patterned(MIB, 1, (0, 4096)),
        "/etc/x": patterned(MIB, 2, (4096, 4096)),
        "disk-1": ModelDisk(MIB),
    }
    members = {
        "../evil.xml": b"1",
        "a/b": b"2",
        "disk-1.raw": b"3",
        "\x1b[2J": b"4",
        "domain.xml": b"5",
        "x" * 300: b"6",
        "disk-1.raw.seawall-journal": b"7",
    }
    world.back_up(1, evil, vm_name="\x1b]0;owned\x07", members=members)
    (tmp_path / "deep").mkdir()
    run = rescue(world, tmp_path / "deep" / "er")
    assert run.complete
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    names = {"HOW-TO-USE.txt", "domain.xml", "disk-0.raw", "disk-1.raw", "xdisk-1.raw"}
    renamed = {
        "member-0": b"1",
        "member-1": b"2",
        "member-2": b"3",
        "member-3": b"4",
        "member-5": b"6",
        "member-6": b"7",
    }
    assert {name: (tmp_path / "deep/er" / name).read_bytes() for name in renamed} == renamed
    names |= renamed.keys()
    assert found == {f"deep/er/{name}" for name in names}
    assert differences(evil["../../escape"], tmp_path / "deep/er/disk-0.raw") == []
    assert differences(evil["/etc/x"], tmp_path / "deep/er/xdisk-1.raw") == []
    assert "\x1b" not in (tmp_path / "deep/er/HOW-TO-USE.txt").read_text()


def test_a_plan_changes_nothing_and_says_what_is_needed(world: RescueWorld, tmp_path: Path) -> None:
    plan = plan_folder(opened(world), tmp_path / "out", [], keep_going=False)
    assert isinstance(plan, FolderPlan)
    assert not (tmp_path / "out").exists()
    assert [image.file_name for image in plan.images] == ["vda.raw", "vdb.raw", "vdc.raw"]
    assert plan.images[0].at_most_bytes == 4 * PAGE + 512
    assert plan.needed_bytes == 4 * PAGE + 512 + 3 * MIB
    assert plan.free_bytes > 0  # of the folder above
    with pytest.raises(TargetUnfit, match="missing does not exist: make it first"):
        plan_folder(opened(world), tmp_path / "missing" / "out", [], keep_going=False)
