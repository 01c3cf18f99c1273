"""What `seawall up` decides: what applies, what is refused, what is missing, when a child is started again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seawall.cli.exits import CommandError
from seawall.cli.up.children import agent_words, controller_words
from seawall.cli.up.places import Places
from seawall.cli.up.plan import (
    Asked,
    Found,
    Membership,
    membership,
    need_operator_file,
    refuse_forgotten_repository,
    refuse_other_operator_file,
    refuse_others,
    repository_missing,
    settle,
)
from seawall.cli.up.restarts import Restarts
from seawall.cli.up.settings import UpSettings, load, render

OWN = Places(Path("/srv/up"))
SYSTEM = Places(Path("/var/lib/seawall"))
KEPT = UpSettings(
    operator_port=7442, agent_port=7443, repository_url="file:///srv/up/repository", run_dir="/r", scratch_dir="/s"
)


def free_but(*taken: int) -> Callable[[int], bool]:
    return lambda port: port not in taken


def refused(function: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(CommandError) as caught:
        function(*arguments)
    return caught.value.reason


def test_a_first_start_takes_the_usual_ports_or_the_next_pair() -> None:
    first = settle(Asked(), None, SYSTEM, free_but())
    assert (first.operator_port, first.agent_port, first.listen_host) == (7440, 7441, "127.0.0.1")
    assert (first.run_dir, first.scratch_dir) == ("/run/seawall/agent", "/var/lib/seawall/scratch")
    assert first.repository_url == "file:///var/lib/seawall/repository"
    assert settle(Asked(), None, SYSTEM, free_but(7441, 7442)).operator_port == 7444
    assert refused(settle, Asked(), None, SYSTEM, lambda port: port % 2 == 0) == "PORT_IN_USE"


def test_a_further_start_keeps_what_was_chosen() -> None:
    assert settle(Asked(), KEPT, OWN, free_but(7440)) == KEPT
    named = settle(
        Asked(name="backup.example.net", host_name="alpha", hypervisor="test:///default"), KEPT, OWN, free_but()
    )
    assert (named.name, named.host_name, named.hypervisor) == ("backup.example.net", "alpha", "test:///default")
    assert settle(Asked(), named, OWN, free_but()) == named
    assert settle(Asked(name=""), named, OWN, free_but()).listen_host == "127.0.0.1"
    assert refused(settle, Asked(), KEPT, OWN, free_but(7443)) == "PORT_IN_USE"


def test_a_name_opens_the_ports_but_this_machine_stays_on_loopback() -> None:
    settings = settle(Asked(name="fd00::1"), KEPT, OWN, free_but())
    controller, agent = controller_words(OWN, settings), agent_words(OWN, settings)
    assert controller[controller.index("--enrol-address") + 1] == "[fd00::1]:7442"
    assert controller[controller.index("--agent-listen") + 1] == "0.0.0.0:7443"
    assert agent[agent.index("--controller") + 1] == "127.0.0.1:7443"


def test_places_of_another_state_directory_are_its_own() -> None:
    assert SYSTEM.operator_file == Path("/etc/seawall/operator.toml")
    assert OWN.operator_file == Path("/srv/up/operator.toml")
    assert OWN.run_dir != Places(Path("/srv/up2")).run_dir
    assert len(str(Places(Path("/" + "x" * 200)).run_dir)) < 40, "a socket's path may have 107 bytes"


def test_the_settings_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "up.json"
    assert load(path) is None
    path.write_bytes(render(KEPT))
    assert load(path) == KEPT


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"operator_port": "7440"}, {"operator_port": True}, {"further": 1}, {"agent_port": None}],
    ids=str,
)
def test_settings_that_cannot_be_understood_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "up.json"
    path.write_text(json.dumps(json.loads(render(KEPT)) | change))
    assert refused(load, path) == "BAD_STATE"


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "{}"])
def test_files_that_are_no_settings_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "up.json"
    path.write_text(text)
    assert refused(load, path) == "BAD_STATE"


def test_nothing_of_others_is_taken_over() -> None:
    refuse_others(Found(controller=False, agent=False), OWN)
    assert refused(refuse_others, Found(controller=True, agent=False), OWN) == "NOT_OURS"
    assert refused(refuse_others, Found(controller=False, agent=True), OWN) == "NOT_OURS"
    refuse_other_operator_file(None, None, OWN)
    refuse_other_operator_file("ours", "ours", OWN)
    for other in ("", "theirs"):
        assert refused(refuse_other_operator_file, other, None, OWN) == "OPERATOR_FILE_TAKEN"
        assert refused(refuse_other_operator_file, other, "ours", OWN) == "OPERATOR_FILE_TAKEN"


def test_what_was_made_and_is_gone_is_named() -> None:
    need_operator_file("", OWN)
    assert refused(need_operator_file, None, OWN) == "OPERATOR_FILE_MISSING"
    refuse_forgotten_repository(False, OWN)
    assert refused(refuse_forgotten_repository, True, OWN) == "REPOSITORY_FORGOTTEN"


@pytest.mark.parametrize(
    ("known", "asked", "sheet_unfinished", "missing"),
    [
        (None, None, False, True),
        (None, "file:///a", True, True),
        ("file:///a", None, False, False),
        ("file:///a", "file:///a", False, False),
        ("file:///a", None, True, True),
    ],
)
def test_when_the_repository_is_still_to_be_made(
    known: str | None, asked: str | None, sheet_unfinished: bool, missing: bool
) -> None:
    assert repository_missing(known, asked, sheet_unfinished) is missing


def test_a_repository_does_not_move() -> None:
    assert refused(repository_missing, "file:///a", "file:///b", False) == "REPOSITORY_DIFFERS"


def test_how_an_agent_stands_with_this_controller() -> None:
    assert membership(None, ["root"], False) is Membership.NONE
    assert membership("root\nissuing\n", ["new\n", "root\n"], False) is Membership.MEMBER
    assert membership("root\nissuing\n", ["root\n"], True) is Membership.EXPIRED
    for other in ("another", ""):
        assert membership(other, ["root"], False) is Membership.OF_ANOTHER


def test_a_child_is_started_again_later_each_time_until_it_is_too_often() -> None:
    deaths, pauses = Restarts(), []
    for second in range(6):
        deaths = deaths.died(100.0 + second)
        pauses.append(deaths.pause_seconds)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, None]
    assert deaths.died(500.0).pause_seconds == 1.0, "what is long ago does not count"
