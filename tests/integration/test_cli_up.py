"""`seawall up` on a machine of its own: real controller, real agent, a folder; libvirt is silent here (system tests have a real one)."""

import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deploy.s3.seaweedfs import SeaweedFS

from seawall.cli.up.found import is_free
from seawall.cli.up.settings import load
from seawall.repository.store.location import S3Credentials
from support.block_device import small_file_system
from support.cli_up import UpHome
from support.libvirt_host import await_true


@pytest.fixture
def home(tmp_path: Path) -> UpHome:
    return UpHome(tmp_path)


@contextmanager
def listener(port: int = 0) -> Iterator[int]:
    """Somebody else's server."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        yield int(server.getsockname()[1])


def test_it_comes_up_ends_and_comes_up_again(home: UpHome) -> None:
    with home.up() as life:
        told = life.document
        assert (told["first_start"], told["join_address"], told["hypervisor"]) == (True, None, None)
        assert told["repository"] == {"name": "main", "url": (home.state / "repository").as_uri(), "same_machine": True}
        assert any("folder of this machine" in warning for warning in told["warnings"])
        assert any("libvirt does not answer" in warning for warning in told["warnings"])
        sheet, operator_file = Path(told["recovery_sheet"]), Path(told["operator_file"])
        assert {stat.S_IMODE(path.stat().st_mode) for path in (sheet, operator_file)} == {0o600}
        status = home.seawall("status", "--json").json
        assert (status["hosts_total"], status["hosts_online"]) == (1, 1)
        facts = home.facts()
        assert facts["hosts"] == [told["host"]["host_id"]]
        second = home.seawall(*home.words, "--json")
        assert (second.code, second.reason) == (5, "ALREADY_UP")
        assert f"process {life.process.pid}" in second.json["error"]["message"]
        assert life.stop() == 0
        assert home.processes() == []
    sheet.unlink()  # taken away, as it should be
    with home.up() as life:
        assert (life.document["first_start"], life.document["recovery_sheet_here"]) == (False, False)
        assert home.facts() == facts
        assert life.stop(signal.SIGTERM) == 0
    assert not sheet.exists()


@pytest.mark.parametrize(
    "steps",
    [
        ("repository made", "token made"),
        pytest.param(
            (
                *("remembered", "initialised", "controller started", "controller serves", "repository made"),
                *("token made", "joined", "agent started", "agent serves", "answered"),
            ),
            marks=pytest.mark.slow,
            id="all",
        ),
    ],
)
def test_a_first_start_that_is_killed_after_any_step_is_continued(home: UpHome, steps: tuple[str, ...]) -> None:
    script = Path(__file__).parents[1] / "support" / "cli_up_killed.py"
    where = [str(home.state), str(home.root / "r"), home.hypervisor]
    for step in steps:
        killed = subprocess.run(
            [sys.executable, script, step, *where], env=home.seawall.environment, capture_output=True, timeout=120
        )
        assert killed.returncode == -signal.SIGKILL, (step, killed.stderr)
    with home.up() as life:
        facts = home.facts()
        assert facts["hosts"] == [life.document["host"]["host_id"]], "joined once"
        assert len(facts["repositories"]) == 1
        sheet = (home.state / "recovery-main.txt").read_text()
        signing = home.seawall("repo", "keys", "main", "--json").json["signing_public_key"]
        assert signing in sheet
        assert not (home.state / "join-token").exists()
        assert life.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "killings",
    [
        {"repository made": "controller", "agent started": "agent"},
        {"controller started": "controller", "joined": "controller"},
        {"controller started": "controller", "agent started": "agent"},
    ],
    ids=lambda killings: ", ".join(f"{child} after {step}" for step, child in killings.items()),
)
def test_a_child_that_dies_before_all_is_ready_is_started_once_more(home: UpHome, killings: dict[str, str]) -> None:
    ended = up_whose_children_die(home, killings)
    of_one = len(set(killings.values())) == 1
    assert ended.returncode == (1 if of_one else 0), ended.stderr
    for child in set(killings.values()):
        assert ended.stderr.count(f"The {child} was killed by SIGKILL. It is started once more in 1 s") == 1
    if of_one:
        assert "was killed by SIGKILL. Its log is" in ended.stderr, "the second death is the end"
    with home.up() as life:
        facts = home.facts()
        assert (len(facts["hosts"]), len(facts["repositories"])) == (1, 1)
        assert life.stop() == 0


def up_whose_children_die(home: UpHome, killings: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    script = Path(__file__).parents[1] / "support" / "cli_up_child_killed.py"
    victims = [f"{step}={child}" for step, child in killings.items()]
    ended = subprocess.run(
        [sys.executable, script, home.state, home.root / "r", home.hypervisor, *victims],
        env=home.seawall.environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert home.processes() == []
    return ended


def test_a_full_disk_at_the_first_start_is_named_and_with_room_it_goes_on(home: UpHome) -> None:
    with small_file_system(home.state, 16 << 20) as state:
        for left, reason in ((0, "NO_ROOM"), (8 << 10, "NO_ROOM"), (72 << 10, "DATABASE_FULL")):
            with (state / "filler").open("wb") as filler:
                filler.truncate(0)
                os.posix_fallocate(filler.fileno(), 0, os.statvfs(state).f_bavail * 4096 - left or 1)
            refused = home.refused()
            assert (refused.code, refused.reason) == (5, reason), refused
            message = refused.json["error"]["message"]
            assert str(state) in message and "Make room there" in message
        (state / "filler").unlink()
        with home.up() as life:
            assert life.stop() == 0


def test_children_end_with_it_and_are_waited_for(home: UpHome) -> None:
    with home.up() as life:
        facts = home.facts()
        os.kill(life.agent, signal.SIGSTOP)  # it cannot end before it goes on
        life.process.kill()
        life.process.wait()
        following = subprocess.Popen(
            home.seawall.line(*home.words),
            env=home.seawall.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert following.stderr is not None
        line = following.stderr.readline().decode()
        assert f"The agent (process {life.agent}) of an earlier start still runs" in line
        os.kill(life.agent, signal.SIGCONT)
        said = iter(following.stderr.readline, b"")
        assert any(b"The agent serves this host" in each for each in said)
        assert home.facts() == facts
        following.terminate()
        assert b"Both have ended" in following.communicate(timeout=60)[1]
        assert following.returncode == 0


def test_a_child_that_dies_is_started_again(home: UpHome) -> None:
    with home.up() as life:
        for name, pid in (("controller", life.controller), ("agent", life.agent)):
            os.kill(pid, signal.SIGKILL)
            life.await_told(f"The {name} was killed by SIGKILL")
            life.await_told(f"The {name} runs again")
        await_true(lambda: _hosts_online(home) == 1, "host online", 60)
        assert life.stop() == 0


def _hosts_online(home: UpHome) -> int:
    answer = home.seawall("status", "--json")
    return int(answer.json["hosts_online"]) if answer.code == 0 else 0


def test_a_second_signal_ends_hard(home: UpHome) -> None:
    with home.up() as life:
        os.kill(life.agent, signal.SIGSTOP)
        life.process.send_signal(signal.SIGINT)
        life.await_told("Stopping")
        life.process.send_signal(signal.SIGINT)
        assert life.process.wait(10) == 130
        assert home.processes() == []
        assert f"The agent (process {life.agent}) is ended hard" in life.told


def test_ports_of_others_are_left_alone_and_ours_are_kept(home: UpHome) -> None:
    busy = next(port for port in range(7440, 7498, 2) if is_free(port) and is_free(port + 1))
    with listener(busy + 1), home.up() as life:
        assert life.document["address"] != f"127.0.0.1:{busy}"
        assert life.stop() == 0
    settings = load(home.state / "up.json")
    assert settings is not None
    with listener(settings.agent_port):
        refused = home.refused()
    assert (refused.code, refused.reason) == (5, "PORT_IN_USE")
    assert f"Port {settings.agent_port} " in refused.json["error"]["message"]


def test_what_others_made_is_not_taken_over(home: UpHome) -> None:
    state = home.state / "controller"
    assert home.seawall("controller", "init", "--state-dir", state).code == 0
    refused = home.refused()
    assert (refused.code, refused.reason) == (5, "NOT_OURS")
    assert str(state) in refused.json["error"]["message"]
    assert not (home.state / "up.json").exists()


def test_another_controllers_operator_file_stays(home: UpHome) -> None:
    home.state.mkdir()
    theirs = home.state / "operator.toml"
    theirs.write_text('address = "h:1"\nca_pem = "x"\ntoken = "y"\n')
    refused = home.refused()
    assert (refused.code, refused.reason) == (5, "OPERATOR_FILE_TAKEN")
    assert theirs.read_text().startswith('address = "h:1"')


@pytest.mark.slow
def test_a_repository_that_cannot_be_made_can_be_named_anew(home: UpHome) -> None:
    missing = home.root / "mnt"
    refused = home.refused("--repo", str(missing))
    assert refused.code == 5
    assert f"{missing} does not exist" in refused.json["error"]["message"]
    secret = home.refused("--repo", "s3://bucket", "--endpoint", "http://127.0.0.1:1")
    assert (secret.code, secret.reason) == (2, "NO_CREDENTIALS")
    missing.mkdir()
    with home.up("--repo", str(missing)) as life:
        assert life.document["repository"]["url"] == missing.as_uri()
        assert life.stop() == 0
    other = home.refused("--repo", str(home.root))
    assert (other.code, other.reason) == (5, "REPOSITORY_DIFFERS")
    with home.up() as life:
        assert life.document["repository"]["url"] == missing.as_uri()
        assert life.stop() == 0


@pytest.mark.slow
def test_a_bucket_is_asked_for_its_key_once(
    home: UpHome, s3_server: SeaweedFS, s3_credentials: S3Credentials, tmp_path: Path
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": s3_credentials.access_key, "AWS_SECRET_ACCESS_KEY": s3_credentials.secret_key}
    place = ("--repo", f"s3://tests/{secrets.token_hex(6)}", "--endpoint", s3_server.endpoint)
    with UpHome(tmp_path, extra=keys).up(*place) as life:
        repository = life.document["repository"]
        assert (repository["url"].startswith(f"{place[1]}?"), repository["same_machine"]) == (True, False)
        for pid in (life.controller, life.agent):
            assert s3_credentials.secret_key.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        assert life.stop() == 0
    with home.up() as life:
        assert life.document["repository"] == repository
        assert life.stop() == 0


def test_a_stop_before_all_is_ready_leaves_nothing_and_says_so(home: UpHome) -> None:
    with home.seawall.background(*home.words) as process:
        assert process.stderr is not None
        assert "are made" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
        assert process.wait(60) == 130
    assert "the next `seawall up` goes on from there" in told
    assert home.processes() == []


@pytest.mark.slow
def test_what_was_lost_is_made_anew_or_named(home: UpHome) -> None:
    with home.up() as life:
        assert life.stop() == 0
    (home.state / "agent" / "identity.json").write_text("x")
    with home.up() as life:
        assert len(home.facts()["hosts"]) == 2
        assert life.stop() == 0
    (home.state / "repository").rename(home.root / "repository")
    with home.up() as life:
        assert any("cannot be used now" in warning for warning in life.document["warnings"])
        assert life.stop() == 0
    (home.root / "repository").rename(home.state / "repository")
    (home.state / "operator.toml").rename(home.root / "aside")
    assert home.refused().reason == "OPERATOR_FILE_MISSING"
    (home.state / "controller" / "initialised.json").unlink()  # as it says
    with home.up() as life:
        assert len(home.facts()["hosts"]) == 2
        assert life.stop() == 0
    for path in (home.state / "controller").glob("controller.sqlite*"):
        path.unlink()
    assert home.refused().reason == "REPOSITORY_FORGOTTEN"


def test_bad_values_are_not_remembered(home: UpHome) -> None:
    bad = home.refused("--name", "two words")
    assert (bad.code, bad.reason) == (2, "BAD_CONFIG")
    assert not (home.state / "up.json").exists()


@pytest.mark.slow
def test_other_hosts_join_where_a_name_is_given(home: UpHome) -> None:
    with home.up() as life:
        assert life.stop() == 0
    with home.up("--name", "localhost") as life:
        assert life.document["join_address"] == life.document["address"].replace("127.0.0.1", "localhost")
        token = home.seawall("host", "token", "--json").json["token"]
        assert token.startswith("sw1:localhost:")
        joined = home.seawall(
            "agent", "join", token, "--state-dir", home.root / "beta", "--host-name", "beta", "--json"
        )
        assert joined.code == 0, joined
        assert joined.json["agent_address"].startswith("localhost:")
        assert len(home.facts()["hosts"]) == 2
        assert life.stop() == 0
