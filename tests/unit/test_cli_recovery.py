"""The recovery sheet: written before the repository exists, never over another, removed only when the repository surely was not made."""

import stat
from pathlib import Path

import pytest

from seawall.api.v1 import resources_pb2
from seawall.cli.exits import CommandError, Exit
from seawall.cli.recovery_file import recovery_key_file
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.recovery_sheet import parse_recovery_sheet
from support.block_device import small_file_system

MADE = resources_pb2.Repository(url="s3://b?endpoint=http://h:1", lineage_id="ab" * 16, signing_public_key=b"s" * 32)


def test_the_sheet_opens_what_the_public_key_sealed(tmp_path: Path) -> None:
    path = tmp_path / "sheet.txt"
    with recovery_key_file(path) as key:
        key.finish(MADE)
    sheet = parse_recovery_sheet(path.read_text())
    assert public_key_of(sheet.secret_key) == key.public_key
    assert (sheet.lineage_id, sheet.signing_public_key) == (bytes.fromhex("ab" * 16), b"s" * 32)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_old_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "sheet.txt"
    path.write_text("precious")
    with pytest.raises(CommandError) as caught, recovery_key_file(path):
        pytest.fail("opened")
    assert caught.value.reason == "RECOVERY_FILE_EXISTS"
    assert path.read_text() == "precious"


def test_a_full_disk_leaves_no_piece_of_a_key(tmp_path: Path) -> None:
    with small_file_system(tmp_path / "full", 8192) as full:
        (full / "filler").write_bytes(bytes(8192))
        with pytest.raises(CommandError) as caught, recovery_key_file(full / "sheet.txt"):
            pytest.fail("opened")
        assert (caught.value.code, caught.value.reason) == (Exit.REFUSED, "RECOVERY_FILE")
        assert [found.name for found in full.iterdir()] == ["filler"]


def test_a_refusal_removes_the_useless_key(tmp_path: Path) -> None:
    path = tmp_path / "sheet.txt"
    with pytest.raises(CommandError), recovery_key_file(path):
        assert path.stat().st_size > 0
        raise CommandError(Exit.REFUSED, "BUCKET_MISSING", "no bucket")
    assert not path.exists()


@pytest.mark.parametrize("code", [Exit.UNREACHABLE, Exit.FAILED])
def test_after_a_lost_answer_the_key_stays_and_is_used_again(tmp_path: Path, code: Exit) -> None:
    path = tmp_path / "sheet.txt"
    with pytest.raises(CommandError), recovery_key_file(path) as first:
        raise CommandError(code, "LOST", "no answer")
    with pytest.raises(CommandError), recovery_key_file(path) as second:
        assert second.public_key == first.public_key
        raise CommandError(Exit.REFUSED, "STORE_UNSAFE", "the first try may have made something: keep the key")
    with recovery_key_file(path) as third:
        third.finish(MADE)
    assert public_key_of(parse_recovery_sheet(path.read_text()).secret_key) == first.public_key
    assert [found.name for found in tmp_path.iterdir()] == ["sheet.txt"]
    with pytest.raises(CommandError) as caught, recovery_key_file(path):
        pytest.fail("a finished sheet was opened")
    assert caught.value.reason == "RECOVERY_FILE_EXISTS"
