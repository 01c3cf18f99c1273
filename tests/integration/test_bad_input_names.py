"""Names and ids that mean nothing, too much, or something else: each command that takes one says which, and what to do."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from seawall.api.v1 import operator_pb2
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import Controller, configured, reason_of, running
from support.memory_disks import ModelDisk
from support.operator_words import Operator

SIZE = 1024 * 1024
TWINS = (uuid.UUID(int=0xABCDEF01 << 96 | 1), uuid.UUID(int=0xABCDEF01 << 96 | 2))
NAME = "b a n d"


@dataclass(frozen=True)
class Fleet:
    """A host with two VMs whose ids begin alike and that share a name, one of which has a point."""

    controller: Controller
    operator: Operator
    host: ScriptedAgent
    point_id: str


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    root = tmp_path_factory.mktemp("names")
    config = configured(root / "state")
    with running(config) as controller:
        controller.add_folder(root / "bucket")
        host = enrolled(controller, "alpha")
        host.inventory({"vda": SIZE})
        controller.start_backup("db-1")
        disk = ModelDisk(SIZE)
        disk.write(0, b"words" * 1000)
        point_id = host.backup({"vda": disk.source()}).point_id
        for number, vm_id in enumerate(TWINS):
            twin = enrolled(controller, f"host-{number}")
            twin.inventory({"vda": SIZE}, vm_id=str(vm_id), vm_name=NAME)
        yield Fleet(controller, Operator(config.operator_toml), host, point_id)


SINGLE = (
    (("vm", "show"), "VM"),
    (("backup",), "VM"),
    (("run", "list", "--vm"), "VM"),
    (("point", "list", "--vm"), "VM"),
    (("vm", "list", "--host"), "HOST"),
    (("run", "show"), "RUN"),
    (("run", "watch"), "RUN"),
    (("run", "cancel"), "RUN"),
    (("point", "show"), "POINT"),
    (("point", "list", "--repo"), "REPOSITORY"),
    (("repo", "show"), "REPOSITORY"),
    (("repo", "keys"), "REPOSITORY"),
)
LISTED = {
    "VM": "seawall vm list",
    "HOST": "host list",
    "RUN": "run list",
    "POINT": "point list",
    "REPOSITORY": "repo list",
}
ODD = (
    "nope",
    "../../etc/passwd",
    "'; drop table vms; --",
    "\x1b[31mred",
    "two\nlines",
    "[bold]x[/bold]",
    "%s{0}",
    "ü",
    "\u202eabc",
    "0000000~",
    "~~~~~~~~",
)


@pytest.mark.parametrize(
    ("words", "kind"), SINGLE, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_what_is_not_there_is_named_with_where_to_look(fleet: Fleet, words: tuple[str, ...], kind: str) -> None:
    code, reason, message = fleet.operator.refused(*words, "nope")
    assert (code, reason) == (4, f"{kind}_UNKNOWN")
    assert "'nope'" in message and LISTED[kind] in message


@pytest.mark.parametrize("name", ODD, ids=repr)
def test_odd_names_are_unknown_and_cannot_reach_the_terminal(fleet: Fleet, name: str) -> None:
    code, reason, message = fleet.operator.refused("vm", "show", name)
    assert (code, reason) == (4, "VM_UNKNOWN")
    assert message.isprintable() and repr(name) in message


def test_option_like_names_need_the_dashes_that_end_options(fleet: Fleet) -> None:
    assert fleet.operator("vm", "show", "--help").code == 0
    assert fleet.operator.refused("vm", "show", "--colour")[:2] == (2, "USAGE")
    answer = fleet.operator("vm", "show", "--json", "--", "--help")
    assert (answer.code, answer.reason) == (4, "VM_UNKNOWN")


def test_a_huge_name_is_told_in_a_line(fleet: Fleet) -> None:
    code, reason, message = fleet.operator.refused("vm", "show", "x" * 1_000_000)
    assert (code, reason) == (4, "VM_UNKNOWN")
    assert len(message) < 300 and "1000000 characters" in message


@pytest.mark.parametrize("text", ["\0", "a\0b", "x" * 1_000_000])
def test_what_no_command_line_can_hold_is_unknown_too(fleet: Fleet, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        fleet.controller.backups.GetVm(operator_pb2.GetVmRequest(vm=text))
    assert reason_of(caught.value) == "VM_UNKNOWN"


@pytest.mark.parametrize(
    "words",
    [("vm", "show", ""), ("vm", "list", "--host", ""), ("vm", "list", "--host="), ("backup", "db-1", "--repo", "")],
)
def test_an_unset_variable_widens_no_question(fleet: Fleet, words: tuple[str, ...]) -> None:
    code, reason, message = fleet.operator.refused(*words)
    assert (code, reason) == (2, "EMPTY_ARGUMENT")
    assert "is empty" in message and "variable" in message


def test_a_word_that_is_no_utf8_is_refused(fleet: Fleet) -> None:
    code, reason, _ = fleet.operator.refused("vm", "show", "caf\udce9")
    assert (code, reason) == (2, "NOT_UTF8")


def test_an_empty_name_on_the_wire_is_wrong_input(fleet: Fleet) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        fleet.controller.backups.GetRun(operator_pb2.GetRunRequest())
    assert reason_of(caught.value) == "NAME_MISSING"


@pytest.mark.parametrize("name", [NAME, "abcdef01"])
def test_what_may_mean_two_things_lists_both(fleet: Fleet, name: str) -> None:
    code, reason, _ = fleet.operator.refused("vm", "show", name)
    assert (code, reason) == (2, "AMBIGUOUS")
    assert fleet.operator.refused("backup", "db-1", name)[:2] == (2, "AMBIGUOUS")
    message = fleet.operator("vm", "show", name).err
    assert all(str(vm_id) in message for vm_id in TWINS)


def test_an_id_that_was_cut_too_short_is_told_so(fleet: Fleet) -> None:
    _, _, message = fleet.operator.refused("point", "show", fleet.point_id[:7])
    assert "first 8 digits" in message
    assert fleet.operator("point", "show", fleet.point_id).code == 0


RESTORES: tuple[tuple[tuple[str, ...], int, str, str], ...] = (
    (("--to", "nope"), 4, "HOST_UNKNOWN", "host list"),
    (("--to", "alpha", "--disk", "vdz", "--directory", "/x"), 2, "DISK_UNKNOWN", "vda"),
    (("--to", "alpha", "--as", "../x"), 2, "BAD_NAME", "letter or digit"),
    (("--to", "alpha", "--as", "x" * 101), 2, "BAD_NAME", "letter or digit"),
    (("--to", "alpha", "--as", "two\nlines"), 2, "BAD_NAME", "letter or digit"),
    (("--to", "alpha", "--directory", "relative"), 2, "BAD_DIRECTORY", "absolute"),
    (("--to", "alpha", "--directory", "/a/../b"), 2, "BAD_DIRECTORY", "absolute"),
    (("--to", "alpha", "--directory", "/a\nb"), 2, "BAD_DIRECTORY", "absolute"),
    (("--to", "alpha", "--directory", "/" + "x" * 5000), 2, "BAD_DIRECTORY", "absolute"),
)


@pytest.mark.parametrize(("words", "code", "reason", "told"), RESTORES, ids=lambda value: str(value)[:60])
def test_restores_that_cannot_be_meant_start_nothing(
    fleet: Fleet, words: tuple[str, ...], code: int, reason: str, told: str
) -> None:
    before = fleet.operator("run", "list", "--json").json
    refused = fleet.operator.refused("restore", fleet.point_id, *words)
    assert refused[:2] == (code, reason) and told in refused[2]
    assert fleet.operator("run", "list", "--json").json == before


def test_one_wrong_vm_among_right_ones_starts_none(fleet: Fleet) -> None:
    before = fleet.operator("run", "list", "--json").json
    assert fleet.operator.refused("backup", "db-1", "nope")[:2] == (4, "VM_UNKNOWN")
    assert fleet.operator.refused("backup", "db-1", "--repo", "nope")[:2] == (4, "REPOSITORY_UNKNOWN")
    assert fleet.operator.refused("backup", "db-1", "--exclude-disk", "vdz")[:2] == (2, "DISK_UNKNOWN")
    assert fleet.operator("run", "list", "--json").json == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("host", "token", "--ttl", "soon"), "BAD_TTL"),
        (("host", "token", "--ttl", "infs"), "BAD_TTL"),
        (("host", "token", "--ttl", "nanh"), "BAD_TTL"),
        (("host", "token", "--ttl", "99999999999999d"), "BAD_TTL"),
        (("host", "token", "--ttl", "25h"), "BAD_TTL"),
        (("host", "token", "--max-uses", "99999999999"), "USAGE"),
        (("run", "list", "--limit", "0"), "USAGE"),
        (("backup", "db-1", "--freeze", "maybe"), "USAGE"),
    ],
)
def test_numbers_and_durations_out_of_bounds(fleet: Fleet, words: tuple[str, ...], reason: str) -> None:
    assert fleet.operator.refused(*words)[:2] == (2, reason)


def test_a_token_text_is_kept_out_of_messages(fleet: Fleet, tmp_path: Path) -> None:
    """A join token that was pasted in two lines still holds its secret."""
    token = fleet.operator("host", "token", "--json").json["token"]
    code, reason, message = fleet.operator.refused("agent", "join", f"{token}x y", "--state-dir", tmp_path / "agent")
    assert (code, reason) == (2, "BAD_TOKEN")
    assert token.split(":")[3] not in message and not (tmp_path / "agent").exists()
