"""The folder that a rescue writes to: what an earlier attempt left is known again, and nothing else is ever taken over."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.repository.rescue.errors import TargetBusy, TargetExists, TargetUnfit
from seawall.repository.rescue.files import JOURNAL, PARTIAL, TargetFolder, open_folder
from seawall.repository.rescue.image_file import Found, forget_journal, look_at_image, open_image
from seawall.repository.rescue.journal import ImageIdentity, header_line, parse_journal

SIZE = 3 * 1024 * 1024 + 512
IDENTITY = ImageIdentity("point", "vda", SIZE, "ab" * 32)
NAME = "vda.raw"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[TargetFolder]:
    with open_folder(tmp_path / "out", make=True) as made:
        yield made


def begin(folder: TargetFolder, pages: tuple[int, ...] = ()) -> None:
    """An attempt that wrote a little and was killed."""
    image = open_image(folder, NAME, IDENTITY, look_at_image(folder, NAME, IDENTITY))
    image.write(4096, b"x" * 4096)
    for page in pages:
        image.journal.note_page(page)
    image.close()


def test_an_image_gets_its_name_when_it_is_complete(folder: TargetFolder) -> None:
    begin(folder, (0, 5))
    assert sorted(os.listdir(folder.path)) == [NAME + JOURNAL, NAME + PARTIAL]
    state = look_at_image(folder, NAME, IDENTITY)
    assert (state.found, state.pages) == (Found.UNFINISHED, frozenset({0, 5}))
    image = open_image(folder, NAME, IDENTITY, state)
    image.finish()
    image.close()
    assert look_at_image(folder, NAME, IDENTITY).found is Found.COMPLETE
    forget_journal(folder, NAME)
    assert os.listdir(folder.path) == [NAME]
    assert (folder.path / NAME).stat().st_size == SIZE
    assert (folder.path / NAME).stat().st_mode & 0o777 == 0o600
    with pytest.raises(TargetExists, match="Nothing is ever overwritten"):
        look_at_image(folder, NAME, IDENTITY)


def test_killed_between_complete_and_its_name(folder: TargetFolder) -> None:
    begin(folder)
    image = open_image(folder, NAME, IDENTITY, look_at_image(folder, NAME, IDENTITY))
    image.flush()
    image.journal.note_complete()
    image.close()
    assert look_at_image(folder, NAME, IDENTITY).found is Found.UNNAMED
    os.link(folder.path / (NAME + PARTIAL), folder.path / NAME)  # and killed again, in the middle of naming
    assert look_at_image(folder, NAME, IDENTITY).found is Found.COMPLETE


def test_killed_as_it_began(folder: TargetFolder) -> None:
    (folder.path / (NAME + PARTIAL)).touch()
    assert look_at_image(folder, NAME, IDENTITY).found is Found.NOTHING
    (folder.path / (NAME + JOURNAL)).write_bytes(b'{"seawall_rescue": 1, "inode": 5, "po')
    assert look_at_image(folder, NAME, IDENTITY).found is Found.NOTHING
    begin(folder)
    assert look_at_image(folder, NAME, IDENTITY).found is Found.UNFINISHED


@pytest.mark.parametrize("kind", ["file", "symlink", "dangling symlink", "folder", "fifo"])
@pytest.mark.parametrize("end", ["", PARTIAL])
def test_what_is_not_ours_is_refused(folder: TargetFolder, tmp_path: Path, kind: str, end: str) -> None:
    victim, place = tmp_path / "victim", folder.path / (NAME + end)
    victim.write_bytes(b"precious")
    if kind == "file":
        place.write_bytes(b"precious")
    elif kind == "folder":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to(victim if kind == "symlink" else tmp_path / "nowhere")
    with pytest.raises(TargetExists):
        look_at_image(folder, NAME, IDENTITY)
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_link_that_appears_after_the_look_is_not_followed(folder: TargetFolder, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    state = look_at_image(folder, NAME, IDENTITY)
    image = open_image(folder, NAME, IDENTITY, state)
    (folder.path / NAME).symlink_to(victim)
    with pytest.raises(TargetExists, match="appeared meanwhile"):
        image.finish()
    image.close()
    assert victim.read_bytes() == b"precious"
    assert (folder.path / (NAME + PARTIAL)).stat().st_size == SIZE


def test_a_hard_link_to_another_file_is_no_attempt_of_ours(folder: TargetFolder, tmp_path: Path) -> None:
    """Whoever may write to the folder could name any file of ours, and its inode in a journal."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious" * 1000)
    os.link(victim, folder.path / (NAME + PARTIAL))
    (folder.path / (NAME + JOURNAL)).write_text(header_line(IDENTITY, victim.stat().st_ino) + "\n")
    with pytest.raises(TargetExists, match="not what an earlier attempt"):
        look_at_image(folder, NAME, IDENTITY)


def test_the_attempt_of_another_user_is_not_taken_over(folder: TargetFolder) -> None:
    begin(folder)
    os.chown(folder.path / (NAME + PARTIAL), 65534, 65534)
    with pytest.raises(TargetExists):
        look_at_image(folder, NAME, IDENTITY)


def test_another_points_attempt_is_named(folder: TargetFolder) -> None:
    begin(folder)
    other = ImageIdentity("second-point", "vda", SIZE, "cd" * 32)
    with pytest.raises(TargetExists, match="unfinished rescue of disk vda of point point lies here"):
        look_at_image(folder, NAME, other)


def test_two_at_once_are_refused(folder: TargetFolder) -> None:
    begin(folder)
    state = look_at_image(folder, NAME, IDENTITY)
    image = open_image(folder, NAME, IDENTITY, state)
    with pytest.raises(TargetBusy):
        open_image(folder, NAME, IDENTITY, state)
    folder.lock()
    with open_folder(folder.path, make=False) as second, pytest.raises(TargetBusy):
        second.lock()
    image.close()


def test_zeroing_keeps_holes_and_removes_what_is_there(folder: TargetFolder) -> None:
    image = open_image(folder, NAME, IDENTITY, look_at_image(folder, NAME, IDENTITY))
    image.write(1024 * 1024, b"stale" * 1000)
    image.write(SIZE - 512, b"e" * 512)
    before = (folder.path / (NAME + PARTIAL)).stat().st_blocks
    image.zero(0, SIZE)
    image.flush()
    assert image.read(0, SIZE + 5) == bytes(SIZE)
    assert (folder.path / (NAME + PARTIAL)).stat().st_blocks <= before
    image.close()


def test_a_journal_is_read_up_to_where_it_makes_sense() -> None:
    head = header_line(IDENTITY, 7)
    state = parse_journal(f"{head}\n1\n2\nx\n-3\n{'9' * 40}\n\n12".encode())
    assert state is not None
    assert (state.identity, state.inode, state.pages, state.complete) == (IDENTITY, 7, frozenset({1, 2}), False)
    whole = parse_journal(f"{head}\n1\n\ncomplete\n".encode())
    assert whole is not None and whole.complete
    torn = parse_journal(f"{head}\n1\ncomplete".encode())
    assert torn is not None and not torn.complete
    for body in (b"", b"\n", head.encode(), b"[]\n", b'{"seawall_rescue": 2}\n', b"\xff\xfe\n", b"[" * 100_000 + b"\n"):
        assert parse_journal(body) is None


def test_small_files_are_whole_and_never_replace_others(folder: TargetFolder, tmp_path: Path) -> None:
    folder.write_whole("domain.xml", b"<domain/>")
    folder.write_whole("domain.xml", b"<domain/>")
    with pytest.raises(TargetExists):
        folder.write_whole("domain.xml", b"<other/>")
    (folder.path / ("a.txt" + PARTIAL)).symlink_to(tmp_path / "victim")  # of a killed attempt, or of an enemy
    folder.write_whole("a.txt", b"a")
    assert sorted(os.listdir(folder.path)) == ["a.txt", "domain.xml"]
    assert not (tmp_path / "victim").exists()


def test_the_target_is_a_folder_that_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TargetUnfit, match="no directory"):
        open_folder(tmp_path / "file", make=True)
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(TargetUnfit, match="leads nowhere"):
        open_folder(tmp_path / "link", make=True)
    with pytest.raises(TargetUnfit, match="nor does its parent"):
        open_folder(tmp_path / "a" / "b", make=True)
    with open_folder(tmp_path / "a", make=True) as made:
        assert made.path.stat().st_mode & 0o777 == 0o700
