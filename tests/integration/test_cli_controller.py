"""The real command against a controller that the real command made and runs."""

import re
import socket
import stat
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import grpc
import pytest

from seawall.api.v1 import agent_pb2, enroll_pb2_grpc
from seawall.cli.connection import connect
from seawall.cli.operator_config import load_config
from support.cli_command import Cli
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import Controller, free_port


@dataclass(frozen=True)
class Made:
    """A controller's place and ports; `seawall` asks it."""

    root: Path
    operator: int
    agent: int

    @property
    def options(self) -> list[str]:
        here = "127.0.0.1"
        return [
            *("--state-dir", str(self.root / "state")),
            *("--operator-listen", f"{here}:{self.operator}", "--agent-listen", f"{here}:{self.agent}"),
            *("--enrol-address", f"{here}:{self.operator}", "--agent-address", f"{here}:{self.agent}"),
        ]

    @property
    def seawall(self) -> Cli:
        return Cli(self.root, self.root / "state" / "operator.toml")

    @contextmanager
    def serving(self) -> Iterator["subprocess.Popen[str]"]:
        """`seawall controller run`, answering."""
        with self.seawall.background("controller", "run", *self.options) as process:
            for port in (self.operator, self.agent):
                wait_for_port(port, process)
            yield process


def wait_for_port(port: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)


def make(root: Path) -> Made:
    root.mkdir(exist_ok=True)
    made = Made(root, free_port(), free_port())
    assert made.seawall("controller", "init", *made.options).code == 0
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Shared by the tests that do not stop it."""
    made = make(tmp_path_factory.mktemp("controller"))
    with made.serving():
        yield made


def test_init_happens_once(tmp_path: Path) -> None:
    made = Made(tmp_path, 7440, 7441)
    first = made.seawall("controller", "init", *made.options, "--json")
    toml = tmp_path / "state" / "operator.toml"
    before = toml.read_bytes()
    again = made.seawall("controller", "init", *made.options, "--json")
    assert (first.code, again.code, first.err, again.err) == (0, 0, "", "")
    assert (first.json["created"], again.json["created"]) == (True, False)
    assert first.json["cluster_id"] == again.json["cluster_id"]
    assert first.json["operator_file"] == str(toml)
    assert (stat.S_IMODE(toml.stat().st_mode), toml.read_bytes()) == (0o600, before)
    spoken = made.seawall("controller", "init", *made.options)
    assert "nothing was changed" in spoken.out


def test_run_needs_init(tmp_path: Path) -> None:
    refused = Cli(tmp_path)("controller", "run", "--state-dir", tmp_path / "none")
    assert (refused.code, refused.out) == (5, "")
    assert "seawall controller init" in refused.err


def test_a_new_controller_is_empty_and_says_what_to_do_next(made: Made) -> None:
    for words, advice in (
        (("host", "list"), "seawall host token"),
        (("vm", "list"), "No VM is known"),
        (("run", "list"), "No runs."),
        (("point", "list"), "seawall backup VM"),
    ):
        answer = made.seawall(*words)
        assert (answer.code, answer.out) == (0, "")
        assert advice in answer.err
    assert made.seawall("vm", "list", "--json").json == {"vms": []}
    status = made.seawall("status")
    assert status.code == 0
    assert re.search(r"^Hosts +0 of 0 online$", status.out, re.MULTILINE)
    assert made.seawall("status", "--json").json["hosts_total"] == 0


def test_join_tokens(made: Made) -> None:
    for ttl in ("bad", "25h"):  # refused here, refused by the controller
        bad = made.seawall("host", "token", "--ttl", ttl, "--json")
        assert (bad.code, bad.reason) == (2, "BAD_TTL")
    token = made.seawall("host", "token", "--ttl", "30m")
    assert re.fullmatch(rf"sw1:127\.0\.0\.1:{made.operator}:\w+\.[\w-]+:[0-9a-f]{{64}}\n", token.out)
    secret = token.out.split(":")[3]
    assert secret not in token.err


def test_repositories(made: Made) -> None:
    folder, sheet = made.root / "bucket", made.root / "sheet.txt"
    missing = made.seawall("repo", "add", "main", folder, "--recovery-key", sheet)
    assert missing.code == 5
    assert f"{folder} does not exist" in missing.err
    assert not sheet.exists()

    folder.mkdir()
    added = made.seawall("repo", "add", "main", folder, "--recovery-key", sheet)
    assert (added.code, stat.S_IMODE(sheet.stat().st_mode)) == (0, 0o600)
    assert str(sheet) in added.out
    text = sheet.read_text()

    over = made.seawall("repo", "add", "second", folder, "--recovery-key", sheet, "--json")
    assert (over.code, over.reason, sheet.read_text()) == (5, "RECOVERY_FILE_EXISTS", text)
    other = made.root / "other.txt"
    taken = made.seawall("repo", "add", "main", folder, "--recovery-key", other, "--json")
    assert (taken.code, taken.reason, other.exists()) == (5, "NAME_TAKEN", False)

    listed = made.seawall("repo", "list").out.splitlines()
    assert listed[1].split()[:2] == ["main", folder.as_uri()]
    identity = listed[1].split()[-1]
    assert str(uuid.UUID(identity)) == identity  # in a pipe, never cut or folded
    assert not any(line != line.rstrip() for line in listed)
    shown = made.seawall("repo", "show", "main")
    assert Cli(made.root, made.root / "state" / "operator.toml").completed("seawall repo show ma") == ("main\n", "")
    assert folder.as_uri() in shown.out
    there = sorted(folder.rglob("*"))
    planned = made.seawall("repo", "probe", "main", "--plan")
    assert planned.code == 0 and "would" in planned.out and sorted(folder.rglob("*")) == there
    probed = made.seawall("repo", "probe", "main", "--json").json
    answers = {each["question"]: each["good"] for each in probed["answers"]}
    assert answers["conditional_put"] and answers["lost_answer"] and not answers["signed_condition"]
    assert probed["repository"]["capabilities"]["takes_bare_put"] is True
    assert made.seawall("repo", "probe", "nobody", "--json").reason == "REPOSITORY_UNKNOWN"
    keys = made.seawall("repo", "keys", "main", "--json").json
    assert {each["name"] for each in keys["wrappers"]} == {"controller", "recovery"}
    assert keys["signing_public_key"] in text
    assert not any(secret in answer.out for answer in (added, shown) for secret in key_lines(text))


def key_lines(sheet: str) -> list[str]:
    found = re.findall(r"^ +((?:[0-9A-Z]{4}-){3}[0-9A-Z]{4})$", sheet, re.MULTILINE)
    assert len(found) == 4
    return list(found)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("vm", "show", "nope"), "VM_UNKNOWN"),
        (("run", "watch", "01234567"), "RUN_UNKNOWN"),
        (("restore", "01234567", "--to", "nope"), "POINT_UNKNOWN"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_unknown_things(made: Made, words: tuple[str, ...], reason: str) -> None:
    answer = made.seawall(*words, "--json")
    assert (answer.code, answer.reason, answer.err) == (4, reason, "")


def test_a_wrong_token_a_wrong_ca_and_nobody_there(made: Made, tmp_path: Path) -> None:
    right = (made.root / "state" / "operator.toml").read_text()
    wrong = tmp_path / "token.toml"
    wrong.write_text(re.sub(r'token = ".*"', 'token = "guessed"', right))
    answer = made.seawall("status", "--config", wrong, "--json")
    assert (answer.code, answer.reason) == (6, "BAD_TOKEN")

    other = Made(tmp_path / "other", made.operator, made.agent)
    other.root.mkdir()
    assert other.seawall("controller", "init", *other.options).code == 0
    answer = other.seawall("status", "--json")
    assert (answer.code, answer.reason, answer.err) == (6, "WRONG_CA", "")

    nobody = tmp_path / "nobody.toml"
    nobody.write_text(right.replace(f":{made.operator}", f":{free_port()}"))
    answer = made.seawall("status", "--config", nobody)
    assert answer.code == 7
    assert "cannot be reached" in answer.err
    assert str(nobody) in answer.err


def test_completion_is_silent_where_nobody_answers(made: Made, tmp_path: Path) -> None:
    assert Cli(made.root, tmp_path / "none.toml").completed("seawall restore 0123 --to al") == ("", "")


def test_agents_join_and_say_why_not(made: Made, tmp_path: Path) -> None:
    state = ("--state-dir", tmp_path / "agent")
    stopped = made.seawall("agent", "status", "--run-dir", tmp_path / "run", "--json")
    assert (stopped.code, stopped.reason) == (7, "AGENT_NOT_RUNNING")
    early = made.seawall("agent", "run", *state, "--run-dir", tmp_path / "run")
    assert early.code == 5
    assert "seawall agent join TOKEN" in early.err

    nonsense = made.seawall("agent", "join", "nonsense", *state, "--json")
    assert (nonsense.code, nonsense.reason) == (2, "BAD_TOKEN")
    answer = made.seawall("host", "token", "--json").json
    assert set(answer) == {"token", "expires_at"}
    token = answer["token"]
    pin = made.seawall("agent", "join", token[:-4] + "0000", *state, "--json")
    assert (pin.code, pin.reason) == (6, "CONTROLLER_NOT_TRUSTED")
    head, pinned = token.rsplit(":", 1)
    secret = f"{head[:-8]}AAAAAAAA:{pinned}"
    guessed = made.seawall("agent", "join", secret, *state, "--json")
    assert (guessed.code, guessed.reason) == (6, "TOKEN_UNKNOWN")

    joined = made.seawall("agent", "join", "-", *state, "--host-name", "gamma", "--json", stdin=token + "\n")
    assert joined.code == 0
    assert joined.json["agent_address"] == f"127.0.0.1:{made.agent}"
    again = made.seawall("agent", "join", token, *state)
    assert again.code == 5
    assert "--force" in again.err
    used = made.seawall("agent", "join", token, "--state-dir", tmp_path / "second", "--json")
    assert (used.code, used.reason) == (6, "TOKEN_USED")
    assert "gamma" in made.seawall("host", "list").out


@pytest.fixture
def own(tmp_path: Path) -> Made:
    """A controller that a test starts and stops itself."""
    return make(tmp_path / "own")


def joined(made: Made, name: str) -> ScriptedAgent:
    """A scripted agent of a controller that is another process."""
    toml = made.root / "state" / "operator.toml"
    credentials = grpc.ssl_channel_credentials(load_config(toml).ca_pem.encode())
    with connect(toml) as operator, grpc.secure_channel(f"127.0.0.1:{made.operator}", credentials) as channel:
        asked = SimpleNamespace(admin=operator.admin, enrolment=enroll_pb2_grpc.EnrollServiceStub(channel))
        return enrolled(cast(Controller, asked), name)


def test_it_ends_soon_and_watchers_come_back(own: Made) -> None:
    folder = own.root / "bucket"
    folder.mkdir()
    with own.serving() as first:
        own.seawall("repo", "add", "main", folder, "--recovery-key", own.root / "sheet.txt")
        alpha = joined(own, "alpha")
        alpha.inventory({"vda": 1024 * 1024})
        started = own.seawall("backup", "db-1", "--json").json["runs"][0]
        assignment = alpha.next_assignment()
        request = agent_pb2.PollRequest(session_id=alpha.session_id, known_generation=alpha.generation)
        request.wait.seconds = 25
        poll = alpha.stub.Poll.future(request, timeout=30)
        with own.seawall.background("run", "watch", started["run_id"]) as watcher:
            assert watcher.stderr is not None
            assert "assigned" in watcher.stderr.readline()
            began = time.monotonic()
            first.terminate()
            assert first.wait(timeout=10) == 0
            assert time.monotonic() - began < 5.0, "it waits for no poll that has 25 s to go"
            assert isinstance(poll.code(), grpc.StatusCode)
            assert "Trying again" in watcher.stderr.readline()
            assert watcher.poll() is None
            with own.serving():
                assert own.seawall("run", "cancel", started["run_id"]).code == 0
                alpha.connect()
                alpha.hello(over=[assignment.attempt])
                assert watcher.wait(timeout=20) == 8
                again = own.seawall("run", "cancel", started["run_id"], "--json")
                assert (again.code, again.json["over"]) == (5, [started["run_id"]])
