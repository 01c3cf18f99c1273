"""`seawall rescue` as an operator runs it: a real command, a real S3 server or folder, and whatever ends it in the middle."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from deploy.lab.fault_proxy.control import FaultProxy
from deploy.lab.fault_proxy.rules import CutRequest, Hold
from typer.testing import CliRunner

from seawall.cli.main import app
from seawall.repository.crypto.recovery import recovery_key_text
from seawall.repository.format.layout import config_name, key_name
from seawall.repository.store.folder import FolderStore, create_folder
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.retry import RetryPolicy
from seawall.repository.store.s3 import S3Store
from support.block_device import loop_device, small_file_system
from support.cli_command import Answer, Cli
from support.memory_disks import ModelDisk
from support.rescue_world import DOMAIN_XML, MIB, RECOVERY, RescueWorld, differences, patterned, point_id, stored_bytes

pytest_plugins = ["support.fault_proxy"]

POINT = point_id(1)
PAGE = 64 * MIB


@pytest.fixture(scope="module")
def disks() -> dict[str, ModelDisk]:
    places = [(page * PAGE + page * MIB, 3 * MIB) for page in (0, 1, 3, 4)]
    return {"vda": patterned(5 * PAGE + 1024, 1, *places), "vdb": patterned(3 * MIB + 512, 2, (MIB, MIB))}


@pytest.fixture(scope="module")
def bucket(s3_bucket: S3Store, disks: dict[str, ModelDisk]) -> RescueWorld:
    """In the S3 server; not to be changed by a test."""
    made = RescueWorld(s3_bucket.below("rescue"))
    made.back_up(1, disks)
    return made


@pytest.fixture
def folder(bucket: RescueWorld, tmp_path: Path) -> RescueWorld:
    """The same in a folder of this test's own."""
    create_folder(tmp_path / "repository")
    return bucket.copied_to(FolderStore(tmp_path / "repository"))


@pytest.fixture
def cli(tmp_path: Path, s3_credentials: S3Credentials) -> Cli:
    keys = {"AWS_ACCESS_KEY_ID": s3_credentials.access_key, "AWS_SECRET_ACCESS_KEY": s3_credentials.secret_key}
    return Cli(tmp_path, None, keys)


@pytest.fixture
def sheet(bucket: RescueWorld, tmp_path: Path) -> Path:
    return bucket.write_sheet(tmp_path / "sheet.txt")


@pytest.fixture
def folder_sheet(folder: RescueWorld, tmp_path: Path) -> Path:
    return folder.write_sheet(tmp_path / "folder-sheet.txt")


def restore(cli: Cli, sheet: Path, *words: str | Path) -> Answer:
    return cli("rescue", "--key", sheet, "restore", POINT, *words)


def assert_whole(disks: dict[str, ModelDisk], out: Path) -> None:
    for name, model in disks.items():
        assert differences(model, out / f"{name}.raw") == []
    assert {path.name for path in out.iterdir()} == {*(f"{name}.raw" for name in disks), "domain.xml", "HOW-TO-USE.txt"}


def test_list_and_restore_with_the_sheet_alone(
    cli: Cli, sheet: Path, bucket: RescueWorld, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    listed = cli("rescue", "--key", sheet, "list", "--json")
    assert listed.code == 0, listed.err
    (point,) = listed.json["points"]
    assert (point["point_id"], point["vm_name"], point["state"]) == (POINT, "web", "available")
    assert listed.json["repository"]["signing_key_pinned"]
    assert listed.json["vms"][0]["newest_age_seconds"] > 0
    text = cli("rescue", "--repository", bucket.store.url, "--key", sheet, "list")
    assert POINT in text.out and "web" in text.out and "days" in text.out
    done = restore(cli, sheet, "--to", "out", "--json")
    assert done.code == 0, done.err
    assert done.json["complete"]
    assert_whole(disks, tmp_path / "out")
    assert (tmp_path / "out" / "domain.xml").read_bytes() == DOMAIN_XML
    assert stored_bytes(tmp_path / "out" / "vda.raw") < 20 * MIB
    again = restore(cli, sheet, "--to", "out", "--json")
    assert (again.code, again.reason) == (5, "TARGET_EXISTS")
    assert_whole(disks, tmp_path / "out")


@pytest.mark.slow
def test_plan_and_text_answers(cli: Cli, folder_sheet: Path, tmp_path: Path) -> None:
    planned = restore(cli, folder_sheet, "--to", "out", "--plan")
    assert planned.code == 0
    assert "vda.raw" in planned.out and "new" in planned.out
    assert not (tmp_path / "out").exists()
    done = restore(cli, folder_sheet, "--to", "out", "--disk", "vdb")
    assert done.code == 0
    assert "vdb.raw" in done.out and "domain.xml" in done.out
    assert restore(cli, folder_sheet, "--to", "out", "--disk", "vdb", "--plan", "--json").reason == "TARGET_EXISTS"


def test_a_bare_key_works_and_says_that_nothing_is_pinned(cli: Cli, folder: RescueWorld, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(recovery_key_text(RECOVERY).lower())
    (tmp_path / "key").chmod(0o640)
    told = cli("rescue", "--repository", tmp_path / "repository", "--key", "key", "list")
    assert told.code == 0
    assert "carries no signing key" in told.err
    assert "chmod 600" in told.err
    piped = cli(
        "rescue", "--repository", "repository", "--key", "-", "list", "--json", stdin=recovery_key_text(RECOVERY)
    )
    assert not piped.json["repository"]["signing_key_pinned"]
    assert "no signing key" in piped.json["notes"][0]
    nowhere = cli("rescue", "--key", "key", "list", "--json")
    assert (nowhere.code, nowhere.reason) == (2, "NO_REPOSITORY")


def test_every_mistake_has_its_word_and_code(
    cli: Cli, sheet: Path, folder_sheet: Path, folder: RescueWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    impatient = RetryPolicy(deadline_seconds=0.2)
    monkeypatch.setattr("seawall.repository.rescue.opening.OPENING_RETRIES", impatient)

    def ends(*words: str | Path, **environment: str | None) -> tuple[int, str]:
        given = ["rescue", *map(str, words), "--json"]
        result = CliRunner().invoke(app, given, env={**cli.extra, **environment})
        return result.exit_code, json.loads(result.stdout)["error"]["reason"]

    (tmp_path / "empty").mkdir()
    (tmp_path / "typo").write_text(recovery_key_text(RECOVERY)[:-1] + "0")
    (tmp_path / "other").write_text(recovery_key_text(b"\x08" * 32))
    out = ("--to", tmp_path / "out")
    key = ("--key", folder_sheet)
    assert ends("list") == (2, "NO_KEY")
    assert ends("--key", "none", "list") == (2, "KEY_FILE")
    assert ends("--key", "typo", "list") == (2, "KEY_FILE")
    assert ends("--key", "other", "--repository", "repository", "list") == (6, "WRONG_KEY")
    assert ends(*key, "--repository", "empty", "list") == (4, "REPOSITORY_UNKNOWN")
    assert ends(*key, "--repository", "nowhere", "list") == (4, "BUCKET_MISSING")
    assert ends(*key, "--repository", "ftp://x", "list") == (2, "BAD_URL")
    assert ends("--key", sheet, "--endpoint", "http://127.0.0.1:1", "list") == (7, "STORE_UNAVAILABLE")
    assert ends("--key", sheet, "--ca-file", "none.pem", "list") == (2, "NO_CA_FILE")
    assert ends(*key, "list", "--vm", "nobody") == (4, "POINT_UNKNOWN")
    assert ends(*key, "restore", "ffff", *out) == (4, "POINT_UNKNOWN")
    assert ends(*key, "restore", POINT, *out, "--disk", "sda") == (4, "DISK_UNKNOWN")
    assert ends(*key, "restore", POINT) == (2, "NO_TARGET")
    assert ends(*key, "restore", POINT, *out, "--to-device", "/dev/null") == (2, "NO_TARGET")
    assert ends(*key, "restore", POINT, "--to", folder_sheet) == (5, "TARGET_UNFIT")
    assert ends(*key, "restore", POINT, "--to", tmp_path / "a" / "b") == (5, "TARGET_UNFIT")
    assert ends(*key, "restore", POINT, "--disk", "vda", "--to-device", "/dev/null") == (2, "OVERWRITE_NOT_SAID")
    device = ("--to-device", "/dev/null", "--overwrite-device")
    assert ends(*key, "restore", POINT, "--disk", "vda", *device) == (5, "TARGET_UNFIT")
    assert ends(*key, "restore", POINT, *device) == (5, "TARGET_UNFIT")
    theirs = RescueWorld(FolderStore(tmp_path / "empty"))
    theirs.back_up(1, {})
    assert ends(*key, "--repository", "empty", "list") == (5, "FOREIGN_REPOSITORY")
    nothing = dict.fromkeys(cli.extra)
    assert ends("--key", sheet, "list", **nothing) == (2, "NO_CREDENTIALS")
    assert ends("--key", sheet, "list", AWS_SECRET_ACCESS_KEY="wrong") == (6, "STORE_REFUSED")
    assert not (tmp_path / "out").exists()


# -- ended in the middle


def waited(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def noted_pages(out: Path) -> int:
    journal = out / "vda.raw.seawall-journal"
    return len(journal.read_bytes().splitlines()) - 1 if journal.exists() else 0


@pytest.fixture
def late_pack(bucket: RescueWorld) -> str:
    """Of the last pages of vda: the pages before it are written by the time that somebody waits for this one."""
    return bucket.chunk_place(POINT, "vda", 4, 0)[0]


def through(proxy: FaultProxy, sheet: Path, out: Path) -> tuple[str | Path, ...]:
    return ("rescue", "--key", sheet, "--endpoint", proxy.endpoint, "restore", POINT, "--to", out)


def test_killed_in_the_middle_it_goes_on(
    cli: Cli, sheet: Path, disks: dict[str, ModelDisk], tmp_path: Path, fault_proxy: FaultProxy, late_pack: str
) -> None:
    out = tmp_path / "out"
    with fault_proxy.rule(Hold(), path=late_pack) as hold, cli.background(*through(fault_proxy, sheet, out)) as process:
        hold.await_held(1, 60)
        waited(lambda: noted_pages(out) >= 2)
        second = restore(cli, sheet, "--to", out, "--json")
        assert (second.code, second.reason) == (5, "TARGET_BUSY")
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not (out / "vda.raw").exists()
    assert (out / "vda.raw.seawall-partial").exists()
    planned = restore(cli, sheet, "--to", out, "--plan", "--json")
    assert planned.json["disks"][0]["state"] == "unfinished"
    done = restore(cli, sheet, "--to", out, "--json")
    assert done.code == 0, done.err
    assert done.json["disks"][0]["kept_bytes"] >= 2 * PAGE
    assert_whole(disks, out)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_interrupted_it_says_how_to_go_on(
    cli: Cli,
    sheet: Path,
    disks: dict[str, ModelDisk],
    tmp_path: Path,
    fault_proxy: FaultProxy,
    late_pack: str,
    number: signal.Signals,
) -> None:
    """While the network is cut, too: nobody waits for retries."""
    out = tmp_path / "out"
    cut = fault_proxy.rule(CutRequest(), path=late_pack)
    with cut, cli.background(*through(fault_proxy, sheet, out)) as process:
        cut.await_taken(3, 60)
        waited(lambda: noted_pages(out) >= 2)
        began = time.monotonic()
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
        assert process.returncode == 130
        assert time.monotonic() - began < 15
    assert "the same command goes on" in told
    assert "Traceback" not in told
    done = restore(cli, sheet, "--to", out)
    assert done.code == 0, done.err
    assert_whole(disks, out)


@pytest.mark.slow
def test_a_network_that_comes_back_is_not_even_noticed(
    cli: Cli, sheet: Path, disks: dict[str, ModelDisk], tmp_path: Path, fault_proxy: FaultProxy
) -> None:
    words = (*through(fault_proxy, sheet, tmp_path / "out"), "--json")
    with fault_proxy.rule(CutRequest(), path=r"/v1/", skip=10) as cut, cli.background(*words) as process:
        cut.await_taken(4, 60)
        cut.remove()
        said, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert json.loads(said)["complete"]
    assert_whole(disks, tmp_path / "out")


def test_a_full_disk_is_said_and_goes_on_when_there_is_room(
    cli: Cli, folder_sheet: Path, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    with small_file_system(tmp_path / "small", 8 * MIB) as place:
        full = restore(cli, folder_sheet, "--to", place / "out", "--json")
        assert (full.code, full.reason) == (1, "TARGET_FULL")
        assert "goes on where it stopped" in full.json["error"]["message"]
        assert not (place / "out" / "vda.raw").exists()
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        done = restore(cli, folder_sheet, "--to", place / "out")
        assert done.code == 0, done.err
        assert_whole(disks, place / "out")


# -- block devices


def test_to_a_block_device(cli: Cli, folder_sheet: Path, disks: dict[str, ModelDisk], tmp_path: Path) -> None:
    size = disks["vda"].size_bytes
    extra = 3 * MIB - 1024
    with loop_device(tmp_path / "backing", size + extra) as device:
        words = ("--disk", "vda", "--to-device", device, "--overwrite-device", "--json")
        planned = restore(cli, folder_sheet, "--disk", "vda", "--to-device", device, "--plan", "--json")
        assert planned.json["device_bytes"] == size + extra
        assert (tmp_path / "backing").read_bytes().count(b"\xa5") == size + extra, "a plan writes nothing"
        done = restore(cli, folder_sheet, *words)
        assert done.code == 0, done.err
        assert done.json["complete"]
        with open(device, "r+b") as file:  # a crash or a hand
            file.seek(PAGE + MIB + 5)
            file.write(b"?")
        again = restore(cli, folder_sheet, *words, "--resume")
        assert again.json["disks"][0]["kept_bytes"] == 2 * PAGE + 1024 + PAGE - 1024
        with open(device, "rb") as file:
            whole = file.read()
    assert whole[size:] == b"\xa5" * extra
    (tmp_path / "read.raw").write_bytes(whole[:size])
    assert differences(disks["vda"], tmp_path / "read.raw") == []


def test_a_device_that_is_used_or_too_small_is_left_alone(
    cli: Cli, folder_sheet: Path, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    words = ("--overwrite-device", "--json")
    with loop_device(tmp_path / "backing", 8 * MIB) as device:
        small = restore(cli, folder_sheet, "--disk", "vda", "--to-device", device, *words)
        assert (small.code, small.reason) == (5, "TARGET_UNFIT")
        subprocess.run(["mkfs.ext4", "-q", str(device)], check=True)
        (tmp_path / "mounted").mkdir()
        subprocess.run(["mount", str(device), str(tmp_path / "mounted")], check=True)
        try:
            busy = restore(cli, folder_sheet, "--disk", "vdb", "--to-device", device, *words)
        finally:
            subprocess.run(["umount", str(tmp_path / "mounted")], check=True)
        assert (busy.code, busy.reason) == (5, "TARGET_BUSY")
        assert subprocess.run(["e2fsck", "-fn", str(device)], capture_output=True).returncode == 0


# -- damage


def test_damaged_points_are_listed_and_others_restored(
    cli: Cli, folder: RescueWorld, folder_sheet: Path, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    folder.back_up(2, {"vdb": disks["vdb"]})
    broken = folder.manifest_name(point_id(2))
    folder.flip(broken, 300)
    folder.flip(config_name(), 8, 2)
    folder.store.put(key_name("default", 3, "recovery"), b"garbage")
    listed = cli("rescue", "--key", folder_sheet, "list", "--json")
    assert listed.code == 0, listed.err
    by_id = {point["point_id"]: point for point in listed.json["points"]}
    assert by_id[POINT]["state"] == "available"
    assert by_id[point_id(2)]["state"] == "damaged"
    assert by_id[point_id(2)]["damage"]["object"] == broken
    assert "web" in by_id[point_id(2)]["damage"]["affects"]
    text = cli("rescue", "--key", folder_sheet, "list")
    assert broken in text.out and "v1/keys/default/3.recovery" in text.err
    refused = cli("rescue", "--key", folder_sheet, "restore", point_id(2), "--to", "bad", "--json")
    assert (refused.code, refused.reason) == (1, "OBJECT_DAMAGED")
    assert restore(cli, folder_sheet, "--to", "out").code == 0
    assert_whole(disks, tmp_path / "out")


def test_keep_going_ends_with_1_and_lists_what_is_lost(
    cli: Cli, folder: RescueWorld, folder_sheet: Path, disks: dict[str, ModelDisk], tmp_path: Path
) -> None:
    name, at, start, length = folder.chunk_place(POINT, "vda", 3, 1)
    folder.flip(name, at + 30)
    failed = restore(cli, folder_sheet, "--to", "out", "--json")
    assert (failed.code, failed.reason) == (1, "OBJECT_DAMAGED")
    for part in (name, "disk vda", str(start), "--keep-going"):
        assert part in failed.json["error"]["message"]
    done = restore(cli, folder_sheet, "--to", "out", "--keep-going", "--json")
    assert done.code == 1
    assert not done.json["complete"]
    (damage,) = done.json["disks"][0]["damages"]
    assert (damage["object_name"], damage["ranges"]) == (name, [{"offset": start, "length": length}])
    assert json.loads((tmp_path / "out" / "vda.raw.damaged.json").read_text())["damages"] == [damage]
    lost = set(range(start // MIB, (start + length - 1) // MIB + 1))
    assert set(differences(disks["vda"], tmp_path / "out" / "vda.raw")) == lost
    with (tmp_path / "out" / "vda.raw").open("rb") as image:
        image.seek(start)
        assert image.read(length) == bytes(length)
    assert differences(disks["vdb"], tmp_path / "out" / "vdb.raw") == []


@pytest.mark.slow
def test_a_terminal_shows_a_bar_for_each_disk(
    cli: Cli, sheet: Path, disks: dict[str, ModelDisk], tmp_path: Path, fault_proxy: FaultProxy, late_pack: str
) -> None:
    out = tmp_path / "out"
    with fault_proxy.rule(Hold(), path=late_pack) as hold, cli.terminal(*through(fault_proxy, sheet, out)) as terminal:
        shown = terminal.wait_for(r"vdb +.*waits")
        assert "fetched" in shown and " of " in shown
        hold.await_held(1, 60)
        hold.release()
        assert terminal.end() == 0, terminal.text
    assert_whole(disks, out)


@pytest.mark.slow
def test_no_key_stands_in_the_process_list(cli: Cli, folder_sheet: Path, tmp_path: Path) -> None:
    """The key comes from a file: its name is all that others see."""
    secret = recovery_key_text(RECOVERY)
    shown = restore(cli, folder_sheet, "--to", "out")
    for text in (shown.out, shown.err, *(str(word) for word in cli.line("rescue", "--key", folder_sheet))):
        assert secret not in text
    assert os.stat(tmp_path / "out" / "domain.xml").st_mode & 0o077 == 0
