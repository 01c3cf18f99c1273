"""The guest's program judges a disk by its label and head alone: good as it was written, wrong for any byte that was not."""

from pathlib import Path

import pytest
from deploy.lab.guest_image import run_tool

from .plan_words import DiskPlan
from .soak_image import SoakImage, build_tool

MIB = 1 << 20
PLAN = DiskPlan("vdb", "raw", 32, 3, "5eed")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> SoakImage:
    tool = tmp_path_factory.mktemp("soak") / "soak"
    build_tool(tool)
    return SoakImage(tool, tool)


@pytest.fixture
def disk(image: SoakImage, tmp_path: Path) -> Path:
    """With 400 operations on it."""
    made = tmp_path / "vdb.raw"
    image.make_disk(PLAN, made)
    play(image, made, 400)
    return made


def play(image: SoakImage, disk: Path, operations: int) -> None:
    run_tool(str(image.tool), "play", str(disk), "0", str(operations))


def put(disk: Path, offset: int, data: bytes) -> None:
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_what_was_written_is_good(image: SoakImage, disk: Path) -> None:
    found = image.judge("vdb", disk, "raw")
    assert (found.wrong_bytes, found.first, found.disk_id, found.done) == (0, -1, "5eed", 400)
    assert found.length_bytes == PLAN.length_bytes and found.peers == {"5eed": 400}


def test_a_grown_disk_is_good_and_written_to_its_new_end(image: SoakImage, disk: Path) -> None:
    with disk.open("r+b") as file:
        file.truncate(PLAN.length_bytes + 8 * MIB)
    assert image.judge("vdb", disk, "raw").wrong_bytes == 0, "before its guest noticed"
    play(image, disk, 4000)
    found = image.judge("vdb", disk, "raw")
    assert (found.wrong_bytes, found.done) == (0, 4400)
    assert any(disk.read_bytes()[-4096:]), "else nothing was proven of the end"
    put(disk, PLAN.length_bytes + 8 * MIB - 1, bytes([disk.read_bytes()[-1] ^ 1]))
    assert image.judge("vdb", disk, "raw").wrong_bytes == 1


def test_each_changed_byte_is_found(image: SoakImage, disk: Path) -> None:
    content = disk.read_bytes()
    written = next(at for at in range(100_000, len(content)) if content[at])
    untouched = next(at for at in range(100_000, len(content), 4096) if not any(content[at : at + 4096]))
    for offset in (written, untouched, 5000 + 1000, len(content) - 1):
        before = content[offset]
        put(disk, offset, bytes([before ^ 0x40]))
        found = image.judge("vdb", disk, "raw")
        assert (found.wrong_bytes, found.first) in ((1, offset), (len(content), 0)), offset
        put(disk, offset, bytes([before]))
    assert image.judge("vdb", disk, "raw").wrong_bytes == 0


def test_an_older_block_is_found(image: SoakImage, disk: Path) -> None:
    """What a stale bitmap would leave: one place as it was before."""
    before = disk.read_bytes()
    play(image, disk, 200)
    after = disk.read_bytes()
    changed = next(at for at in range(MIB, len(after), 4096) if after[at : at + 4096] != before[at : at + 4096])
    put(disk, changed, before[changed : changed + 4096])
    assert image.judge("vdb", disk, "raw").wrong_bytes > 0


def test_zeroes_that_came_back_are_found(image: SoakImage, disk: Path) -> None:
    """What a discard that was not noticed would leave."""
    before = disk.read_bytes()
    play(image, disk, 2000)
    after = disk.read_bytes()
    cleared = next(
        at for at in range(MIB, len(after), 4096) if not any(after[at : at + 4096]) and any(before[at : at + 4096])
    )
    put(disk, cleared, before[cleared : cleared + 4096])
    assert image.judge("vdb", disk, "raw").wrong_bytes > 0


def test_a_cut_or_blank_disk_is_wrong_as_a_whole(image: SoakImage, disk: Path, tmp_path: Path) -> None:
    with disk.open("r+b") as file:
        file.truncate(PLAN.length_bytes - 512)
    assert image.judge("vdb", disk, "raw").wrong_bytes == PLAN.length_bytes - 512
    blank = tmp_path / "blank.raw"
    blank.touch()
    assert image.judge("vdb", blank, "raw").wrong_bytes == 1
    put(blank, PLAN.length_bytes - 1, b"\0")
    assert image.judge("vdb", blank, "raw").wrong_bytes == PLAN.length_bytes
