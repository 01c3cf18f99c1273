"""DESIGN.md is enough to read a repository: a stranger's reader, written from that page alone, restores what Seawall wrote."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.repository.collecting.compact import compacted_pack
from seawall.repository.crypto.recovery import recovery_key_text
from seawall.repository.format.layout import open_name, pack_name, parse_pack_name, tombstone_name
from seawall.repository.format.open_mark import OpenMark, PointIds, sign_open_mark
from seawall.repository.format.root_object import LEADERS_FROM
from seawall.repository.format.slot_set import NO_SLOTS
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.locate import open_store
from support import second_reader
from support.collecting import deleted
from support.controller_agent import VM_ID, enrolled
from support.controller_application import RECOVERY_SECRET, configured, running
from support.memory_disks import ModelDisk
from support.rescue_world import LINEAGE, MIB, RECOVERY, VM, RescueWorld, differences, patterned

READER = Path(str(second_reader.__file__))
ALONE = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="reader")["main"](*sys.argv[2:])
assert not [name for name in sys.modules if name.split(".")[0] == "seawall"], "it leans on what it is to check"
"""


def read_by_a_stranger(folder: Path, secret: bytes, target: Path) -> list[str]:
    """In a process of its own; what it says it wrote."""
    target.mkdir()
    command = [sys.executable, "-c", ALONE, str(READER), str(folder), recovery_key_text(secret), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_imports_nothing_of_seawall() -> None:
    """Nor could a change of Seawall change what it does."""
    named = set[str]()
    for node in ast.walk(ast.parse(READER.read_text())):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            named.add(node.module or "")
    assert {name.split(".")[0] for name in named} - set(sys.stdlib_module_names) == {
        "blake3",
        "cryptography",
        "zstandard",
    }


def sparse(seed: int) -> ModelDisk:
    """Three pages, the last one short: noise, text, zeroes, and a chunk across blocks that are not whole."""
    disk = patterned(130 * MIB + 1536, seed, (0, 2 * MIB), (64 * MIB - 8192, 70_000), (130 * MIB, 1536))
    disk.write(5 * MIB, b"text that zstd likes, " * 40_000)
    return disk


def test_what_a_controller_and_an_agent_wrote_is_read_back(tmp_path: Path) -> None:
    """Through the controller's own publication, one point deleted, into a folder repository."""
    config = configured(tmp_path / "state")
    disks = [sparse(seed) for seed in (1, 2)]
    with running(config) as controller:
        controller.add_folder(tmp_path / "bucket")
        agent = enrolled(controller, "alpha")
        agent.inventory({"vda": disks[0].size_bytes})
        made = []
        for disk in (*disks, sparse(3)):
            controller.start_backup("db-1")
            made.append(agent.backup({"vda": disk.source()}).point_id)
        deleted(controller, made[2])
    store = FolderStore(tmp_path / "bucket")
    assert tombstone_name("default", VM_ID, made[2]) in {info.name for info in store.list("v1/t/")}
    said = read_by_a_stranger(tmp_path / "bucket", RECOVERY_SECRET, tmp_path / "out")
    assert {line for line in said if line.endswith(".raw")} == {f"{point}-vda.raw" for point in made[:2]}
    for point, disk in zip(made, disks, strict=False):
        assert differences(disk, tmp_path / "out" / f"{point}-vda.raw") == []


@pytest.fixture
def world(tmp_path: Path) -> RescueWorld:
    (tmp_path / "bucket").mkdir()
    return RescueWorld(open_store((tmp_path / "bucket").as_uri()))


def test_a_repository_that_was_compacted_and_damaged_is_read_back(world: RescueWorld, tmp_path: Path) -> None:
    """Packs of which a later generation alone is there, one copy of what is stored twice, two damaged configs, a forgotten point."""
    disk, other = sparse(1), patterned(3 * MIB + 512, 9, (MIB, MIB))
    first = world.back_up(1, {"vda": disk})
    second = world.back_up(2, {"vda": disk, "vdb": other}, parent=world.readers[first])
    third = world.back_up(3, {"vda": disk}, parent=world.readers[first])
    world.store.put(tombstone_name("default", str(VM), third), world.tombstone(third))
    meta_packs = world.packs(meta=True)
    for number, name in enumerate(world.packs(meta=False)):
        compacted(world, name, remove=number % 2 == 0)
    for number, name in enumerate(meta_packs):
        world.store.delete(name[:-1] + str(number % 2))
    for name in ("v1/config", "v1/config.1"):
        world.store.put(name, b"x" * 50, create_only=False)
    said = read_by_a_stranger(tmp_path / "bucket", RECOVERY, tmp_path / "out")
    assert f"{first} domain.xml" in said and not [line for line in said if third in line]
    for point in (first, second):
        for name, model in world.truth[point].items():
            assert differences(model, tmp_path / "out" / f"{point}-{name}.raw") == []


def test_what_a_replaced_leader_left_is_left_out(world: RescueWorld, tmp_path: Path) -> None:
    """Points 1 to 3 of leader 1, of which the mark of leader 2 names the first two; tombstones of all, of which the second's counts."""
    world.db_epoch = LEADERS_FROM + 1
    points = [world.back_up(number, {"vda": patterned(MIB, number, (0, MIB))}) for number in (1, 2, 3)]
    for point in points[:2]:
        world.store.put(tombstone_name("default", str(VM), point), world.tombstone(point))
    world.db_epoch = LEADERS_FROM + 2
    points.append(world.back_up(4, {"vda": patterned(MIB, 4, (0, MIB))}))
    last = OpenMark(LINEAGE, 2, 2, PointIds.of(points[:2]), PointIds.of([points[1]]), frozenset({(3, 1)}))
    for mark in (last, replace(last, number=1, points=PointIds())):
        signed = sign_open_mark(mark, world.secrets.signing_secret_key)
        world.store.put(open_name(mark.epoch, mark.number), signed)
    said = read_by_a_stranger(tmp_path / "bucket", RECOVERY, tmp_path / "out")
    assert [line for line in said if line.endswith(".raw")] == [f"{points[0]}-vda.raw", f"{points[3]}-vda.raw"]
    assert [point.point_id for point in world.repository.points("default")] == [points[0], points[3]]
    world.flip(open_name(2, 2), 40)
    said = read_by_a_stranger(tmp_path / "bucket", RECOVERY, tmp_path / "all")
    assert [line for line in said if line.endswith(".raw")] == [f"{points[2]}-vda.raw", f"{points[3]}-vda.raw"]
    assert [point.point_id for point in world.repository.points("default")] == points[2:]


def compacted(world: RescueWorld, name: str, *, remove: bool) -> None:
    """Generation 5 of it beside an altered one, or alone."""
    body, named = world.store.get(name), parse_pack_name(name)
    assert named is not None
    later = compacted_pack(world.repository, body, NO_SLOTS)
    world.store.put(pack_name(named.tenant, named.pack_id, 5), later)
    if remove:
        world.store.delete(name)
    else:
        world.store.put(name, bytes(len(body)), create_only=False)
