"""The small decisions around a rescue: the key file, the repository's URL, names, the rate."""

import os
from pathlib import Path

import pytest

from seawall.cli.exits import CommandError
from seawall.cli.rescue.url import rescue_url
from seawall.cli.text import age_text
from seawall.repository.crypto.recovery import recovery_key_text
from seawall.repository.errors import IntegrityError, WrongKey
from seawall.repository.recovery_sheet import RecoverySheet, parse_recovery_material, render_recovery_sheet
from seawall.repository.rescue.errors import KeyFileUnusable
from seawall.repository.rescue.file_names import printable
from seawall.repository.rescue.key_file import read_key_file
from seawall.repository.rescue.progress import RateMeter

KEY = bytes(range(32))
SHEET = RecoverySheet(KEY, b"lineage-of-tests", b"s" * 32, "s3://b/p?endpoint=http://h:1&region=us-east-1")


class SteppedClock:
    """Tells what it is told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_us(self) -> int:
        return round(self.seconds * 1_000_000)

    def monotonic_seconds(self) -> float:
        return self.seconds

    def sleep_seconds(self, seconds: float) -> None:
        self.seconds += seconds


def test_a_key_file_is_a_sheet_or_a_key_in_any_spelling() -> None:
    assert parse_recovery_material(render_recovery_sheet(SHEET)).sheet == SHEET
    text = recovery_key_text(KEY)
    for bare in (text, text.lower().replace("-", " "), f"\n{text}\n", f"Recovery key of a repository:\n\n{text}\n"):
        material = parse_recovery_material(bare)
        assert (material.secret_key, material.sheet) == (KEY, None)
    assert "***" in repr(material)
    for empty in ("", "\n \n"):
        with pytest.raises(IntegrityError, match="empty"):
            parse_recovery_material(empty)
    with pytest.raises(WrongKey):
        parse_recovery_material("a letter to somebody")


def test_the_sheet_gives_commands_that_a_shell_understands() -> None:
    text = render_recovery_sheet(SHEET)
    assert f"seawall rescue --repository '{SHEET.repository_url}' --key THIS-FILE list" in text
    assert "AWS_ACCESS_KEY_ID" in text
    assert "not yet" not in text
    folder = RecoverySheet(KEY, b"lineage-of-tests", b"s" * 32, "file:///mnt/backups")
    assert "AWS" not in render_recovery_sheet(folder)


def test_a_key_file_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "sheet.txt"
    path.write_text(render_recovery_sheet(SHEET))
    path.chmod(0o600)
    assert read_key_file(path).warnings == ()
    path.chmod(0o644)
    assert "mode 0644" in read_key_file(path).warnings[0]


def test_a_key_file_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\x00" * 10)
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("none", "No such file"), ("binary", "no text"), (".", "directory")):
        with pytest.raises(KeyFileUnusable, match=why):
            read_key_file(tmp_path / name)
    with pytest.raises(KeyFileUnusable, match="empty"):  # and does not wait for a writer
        read_key_file(tmp_path / "pipe")
    sheet = render_recovery_sheet(SHEET)
    for text, why in (("0000-1111", "8 characters"), (sheet.replace("Lineage:", "Lineag:"), "'Lineage:' is missing")):
        (tmp_path / "key").write_text(text)
        with pytest.raises(KeyFileUnusable, match=f"{tmp_path / 'key'}: .*{why}"):
            read_key_file(tmp_path / "key")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_sheet_is_read_however_an_editor_or_a_letter_carried_it(tmp_path: Path, encoding: str) -> None:
    letter = "From: me\n\nHere it is:\n\n" + render_recovery_sheet(SHEET)
    for text in (render_recovery_sheet(SHEET), letter, letter.replace("\n", "\r\n")):
        (tmp_path / "sheet").write_bytes(text.encode(encoding))
        assert read_key_file(tmp_path / "sheet").material.sheet == SHEET


@pytest.mark.parametrize(
    ("place", "endpoint", "region", "ca_file", "url"),
    [
        ("s3://b/p", "", "", None, "s3://b/p"),
        ("s3://b/p", "https://h:1", "eu", Path("/ca.pem"), "s3://b/p?endpoint=https://h:1&region=eu&ca_file=/ca.pem"),
        ("s3://b?endpoint=http://old:1&region=eu", "http://new:2", "", None, "s3://b?endpoint=http://new:2&region=eu"),
        ("/srv/x y", "", "", None, "file:///srv/x%20y"),
        ("file:///srv/x", "", "", None, "file:///srv/x"),
    ],
)
def test_the_repositorys_url(place: str, endpoint: str, region: str, ca_file: Path | None, url: str) -> None:
    assert rescue_url(place, endpoint, region, ca_file) == url


def test_options_of_s3_mean_nothing_for_a_folder() -> None:
    with pytest.raises(CommandError, match="a folder has none"):
        rescue_url("/srv/x", "http://h:1", "", None)


def test_what_an_agent_wrote_cannot_move_the_cursor() -> None:
    assert printable("web-münchen 1") == "web-münchen 1"
    assert printable("\x1b[31mred\x07\n\u202e") == "\\x1b[31mred\\x07\\n\\u202e"


def test_rate_and_time_left_are_of_the_last_seconds() -> None:
    clock = SteppedClock()
    meter = RateMeter(clock)
    assert (meter.bytes_per_second, meter.seconds_left(100)) == (0.0, None)
    for done in range(0, 3000, 100):  # 100 a second, then 10
        meter.tell(done)
        clock.seconds += 1
    assert meter.bytes_per_second == pytest.approx(100)
    for step in range(30):
        meter.tell(2900 + step * 10)
        clock.seconds += 1
    assert meter.seconds_left(50) == pytest.approx(5, rel=0.2)


def test_ages() -> None:
    assert [age_text(seconds) for seconds in (-5, 59, 3599, 7200, 86_400 * 3)] == [
        "0 min",
        "0 min",
        "59 min",
        "2 h",
        "3 days",
    ]
