"""State directories that are damaged, incomplete, of another time or none at all: the controller refuses to begin and says why."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from seawall.api.v1 import operator_pb2
from support.controller_agent import VM_NAME, ScriptedAgent, enrolled
from support.controller_application import Controller, configured, free_port, running
from support.memory_disks import ModelDisk
from support.operator_words import Operator

SIZE = 1024 * 1024


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a controller that served once and stopped."""
    config = configured(tmp_path_factory.mktemp("state") / "whole")
    with running(config):
        pass
    return config.state_dir


@pytest.fixture
def state(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "state")
    return tmp_path / "state"


def run(state: Path, *options: str) -> tuple[int, str]:
    listen = ("--operator-listen", f"127.0.0.1:{free_port()}", "--agent-listen", f"127.0.0.1:{free_port()}")
    answer = Operator()("controller", "run", "--state-dir", state, *listen, *options)
    assert answer.out == "" and "Traceback" not in answer.err
    return answer.code, answer.err


def flipped(path: Path) -> None:
    path.chmod(0o600)
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def emptied(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"")


def garbled(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"\xff\xfe\x00garbage" * 9)


def gone(path: Path) -> None:
    path.unlink()


REFUSED: list[tuple[str, Callable[[Path], None], str]] = [
    ("kek", flipped, "kek is another one's"),
    ("kek", emptied, "restore the file kek"),
    ("kek", gone, "restore it from your backup"),
    ("cluster-id", flipped, "damaged, or not of one controller"),
    ("cluster-id", emptied, "damaged, or not of one controller"),
    ("cluster-id", garbled, "damaged, or not of one controller"),
    ("cluster-id", gone, "restore it from your backup"),
    ("ca/root.pem", flipped, "damaged, or not of one controller"),
    ("ca/root.pem", emptied, "damaged, or not of one controller"),
    ("ca/root.pem", gone, "restore it from your backup"),
    ("ca/issuing.pem", flipped, "damaged, or not of one controller"),
    ("ca/issuing.pem", garbled, "damaged, or not of one controller"),
    ("ca/issuing.key.sealed", flipped, "restore it from a backup"),
    ("ca/issuing.key.sealed", gone, "restore it from your backup"),
    ("wrapper.key.sealed", flipped, "restore it from a backup"),
    ("wrapper.key.sealed", emptied, "restore it from a backup"),
    ("wrapper.key.sealed", gone, "restore it from your backup"),
    ("operator-token.sha256", emptied, "hash of an operator's token"),
    ("operator-token.sha256", garbled, "hash of an operator's token"),
    ("operator-token.sha256", gone, "restore it from your backup"),
    ("initialised.json", gone, "seawall controller init"),
]


@pytest.mark.parametrize(
    ("name", "damage", "told"), REFUSED, ids=lambda value: getattr(value, "__name__", str(value)[:24])
)
def test_a_file_of_the_state(state: Path, name: str, damage: Callable[[Path], None], told: str) -> None:
    damage(state / name)
    code, message = run(state)
    assert code == 5 and told in message, message


def test_flips_at_every_place_of_the_certificates_are_met_at_the_start(state: Path) -> None:
    """Certificates are parsed lazily: a flip must not wait for the first handshake."""
    for name in ("ca/root.pem", "ca/issuing.pem"):
        path = state / name
        text = path.read_text()
        lines = text.splitlines()[1:-1]
        for place in range(len(text.splitlines()[0]) + 5, len("\n".join(lines)), 97):
            if not text[place].isalnum():
                continue
            path.write_text(text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :])
            code, message = run(state)
            assert code == 5 and "damaged, or not of one controller" in message, (name, place)
        path.write_text(text)


@pytest.mark.parametrize("damage", [flipped, emptied, garbled, gone])
def test_the_servers_certificate_is_made_anew(state: Path, damage: Callable[[Path], None]) -> None:
    """It holds nothing that cannot be made again."""
    config = configured(state)
    damage(config.paths.server_certificate)
    with running(config) as controller:
        controller.backups.GetStatus(operator_pb2.GetStatusRequest())


@pytest.mark.parametrize("name", ["kek", "cluster-id", "ca/root.pem", "wrapper.key.sealed", "operator-token.sha256"])
def test_init_makes_nothing_anew_where_something_is_lost(state: Path, name: str) -> None:
    (state / name).unlink()
    code, reason, message = Operator().refused("controller", "init", "--state-dir", state)
    assert (code, reason) == (5, "STATE_FILE_MISSING") and str(state / name) in message
    assert not (state / name).exists()


def test_a_lost_kek_is_not_replaced_by_an_unfinished_init(state: Path) -> None:
    """Without the marker init goes on where it stopped; a new kek would hide that the old one is needed."""
    (state / "kek").unlink()
    (state / "initialised.json").unlink()
    assert Operator().refused("controller", "init", "--state-dir", state)[:2] == (5, "STATE_FILE_MISSING")
    assert not (state / "kek").exists()


@pytest.mark.parametrize("damage", [emptied, garbled])
def test_a_damaged_marker_and_the_way_out_that_is_told(
    state: Path, whole: Path, damage: Callable[[Path], None]
) -> None:
    damage(state / "initialised.json")
    code, reason, message = Operator().refused("controller", "init", "--state-dir", state)
    assert (code, reason) == (5, "STATE_FILE_DAMAGED") and "Remove it" in message
    (state / "initialised.json").unlink()
    assert Operator()("controller", "init", "--state-dir", state).code == 0
    for name in ("kek", "cluster-id", "ca/root.pem", "ca/issuing.pem", "operator-token.sha256"):
        assert (state / name).read_bytes() == (whole / name).read_bytes()


def test_a_damaged_token_hash_and_the_way_out_that_is_told(state: Path) -> None:
    emptied(state / "operator-token.sha256")
    assert run(state)[0] == 5
    for name in ("operator-token.sha256", "initialised.json"):
        (state / name).unlink()
    config = configured(state)
    with running(config):
        assert Operator(config.operator_toml)("status").code == 7, "operator.toml names the address of the first time"
    assert (state / "operator-token.sha256").stat().st_size == 65


def newer(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()


def anothers(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE hosts (mine)")
    database.close()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def holed(path: Path) -> None:
    """Pages in the middle are not what was written."""
    body = bytearray(path.read_bytes())
    body[4096 : 3 * 4096] = bytes(range(256)) * 32
    path.write_bytes(body)


DATABASES: list[tuple[Callable[[Path], None], str]] = [
    (newer, "newer Seawall"),
    (garbled, "cannot be read"),
    (holed, "cannot be read"),
    (anothers, "not a controller's"),
    (a_folder, "controller.sqlite"),
]


@pytest.mark.parametrize(("damage", "told"), DATABASES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_database(state: Path, damage: Callable[[Path], None], told: str) -> None:
    assert sorted(path.name for path in state.glob("controller.sqlite*")) == ["controller.sqlite"]
    damage(state / "controller.sqlite")
    before = None if damage is a_folder else (state / "controller.sqlite").read_bytes()
    code, message = run(state)
    assert code == 5 and told in message, message
    if damage is anothers:  # its journal mode alone is changed by looking
        with sqlite3.connect(state / "controller.sqlite") as database:
            assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("hosts",)]
        database.close()
    elif before is not None:
        assert (state / "controller.sqlite").read_bytes() == before, "what may be repaired is not written to"


def test_a_second_controller(state: Path) -> None:
    with running(configured(state)):
        code, message = run(state)
        assert code == 5 and "stop it first" in message


def test_addresses_that_cannot_be_listened_on(state: Path) -> None:
    for address in ("no-such-host.invalid:1", "192.0.2.1:1"):
        answer = Operator()(
            "controller",
            "run",
            "--state-dir",
            state,
            "--operator-listen",
            f"127.0.0.1:{free_port()}",
            "--agent-listen",
            address,
        )
        assert answer.code == 5 and "agent_listen" in answer.err and address in answer.err


def test_places_that_are_no_state_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for path, reason in (
        (file, "BAD_PATH"),
        (file / "below", "BAD_PATH"),
        (tmp_path / ("y" * 300), "BAD_PATH"),
        (Path("/dev/null"), "BAD_PATH"),
    ):
        code, told, message = Operator().refused("controller", "init", "--state-dir", path)
        assert (code, told) == (2, reason) and "Name another path" in message
    assert Operator()("controller", "run", "--state-dir", tmp_path / "none").code == 5
    state = tmp_path / "state"
    refused = Operator().refused("controller", "init", "--state-dir", state, "--config-out", tmp_path)
    assert refused[:2] == (2, "BAD_PATH")
    assert Operator()("controller", "init", "--state-dir", state).code == 0, "what was refused can be asked for again"


@pytest.mark.parametrize("body", [b"hello", b"\xff\xfe", b'address = "a:1"\n'])
def test_what_lies_where_operator_toml_goes_is_kept_aside(tmp_path: Path, body: bytes) -> None:
    place = tmp_path / "operator.toml"
    place.write_bytes(body)
    assert Operator()("controller", "init", "--state-dir", tmp_path / "state", "--config-out", place).code == 0
    assert (tmp_path / "operator.toml.before").read_bytes() == body


def backed_up(controller: Controller, host: ScriptedAgent, disk: ModelDisk) -> set[str]:
    """Ids of the packs of data that were stored. Packs of manifests are stored twice, the second time as generation 1."""
    controller.start_backup(VM_NAME)
    before = len(host.puts)
    host.backup({"vda": disk.source()})
    packs = [url.partition("?")[0].rpartition("/")[2] for url in host.puts[before:] if "/v1/p/" in url]
    manifests = {name[:-2] for name in packs if name.endswith(".1")}
    return {name[:-2] for name in packs} - manifests


@pytest.mark.parametrize(
    ("which", "damage"),
    [
        ("*.shard", flipped),
        ("*.shard", gone),
        ("shards.list", emptied),
        ("shards.list", garbled),
        ("shards.list", gone),
    ],
)
def test_a_damaged_index_is_read_anew_from_the_packs(
    tmp_path: Path, which: str, damage: Callable[[Path], None]
) -> None:
    config = configured(tmp_path / "state")
    disk = ModelDisk(SIZE)
    disk.write(0, bytes(range(256)) * 1024)
    with running(config) as controller:
        repository = controller.add_folder(tmp_path / "bucket")
        host = enrolled(controller, "alpha")
        host.inventory({"vda": SIZE})
        assert backed_up(controller, host, disk)
    (file,) = config.paths.index_of(repository.repository_id).glob(which)
    damage(file)
    with running(config) as controller:
        host.connect()
        host.hello()
        assert backed_up(controller, host, disk) == set(), "nothing is stored twice"
