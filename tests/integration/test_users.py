"""Users over the real command and a whole controller: what a role allows, tokens that are renewed, users that are removed."""

import hashlib
import stat
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from seawall.api.v1 import operator_pb2, user_pb2, user_pb2_grpc
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.operator_access import OperatorAccess
from seawall.controller.records.known import KnownUser
from seawall.controller.records.users import Role
from seawall.controller.recovering.users import known_user, put_back_users
from support.cli_command import Cli
from support.controller_application import Controller, configured, reason_of, running
from support.controller_records import NOW

UNKNOWN_RUN = "0192f3c1-7b2e-7000-8000-000000000000"


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with running(configured(tmp_path_factory.mktemp("users") / "state")) as made:
        yield made


def token_of(file: Path) -> str:
    return OperatorAccess.parse(file.read_text()).token.reveal().decode()


def test_a_user_from_the_first_token_to_the_end(controller: Controller, tmp_path: Path) -> None:
    first, second = tmp_path / "anna.toml", tmp_path / "anna-2.toml"
    admin = Cli(tmp_path, controller.config.operator_toml)
    with capture_logs() as logs:
        made = admin("user", "add", "anna", "--role", "viewer", "--operator-file", first, "--json")
        assert (made.code, made.json["user"]["name"], made.json["user"]["role"]) == (0, "anna", "viewer")
        assert made.json["operator_file"] == str(first) and stat.S_IMODE(first.stat().st_mode) == 0o600

        anna = Cli(tmp_path, first)
        assert anna("user", "whoami").out == "anna, viewer\n"
        assert anna("vm", "list", "--json").json == {"vms": []}
        refused = anna("run", "cancel", UNKNOWN_RUN)
        assert refused.code == 6 and "anna is a viewer" in refused.err
        assert "seawall user set anna --role operator" in refused.err
        assert anna("user", "set", "anna", "--role", "admin", "--json").reason == "ROLE_TOO_LOW"

        assert admin("user", "set", "anna", "--role", "operator").out == "anna, operator\n"
        assert anna("run", "cancel", UNKNOWN_RUN, "--json").reason == "RUN_UNKNOWN", "it is allowed now"

        renewed = admin("user", "renew", "anna", "--operator-file", second)
        assert renewed.code == 0
        assert (old := anna("user", "whoami")).code == 6 and "seawall user renew" in old.err
        fresh = Cli(tmp_path, second)
        assert fresh("host", "token", "--json").reason == "ROLE_TOO_LOW", "the token is good, for what an operator may"

        assert admin("user", "remove", "anna", "--yes").code == 0
        assert fresh("vm", "list", "--json").reason == "BAD_TOKEN"
        assert [user["name"] for user in admin("user", "list", "--json").json["users"]] == ["init"]

    told = [(each["user"], each["method"], each.get("outcome", "")) for each in logs if "user" in each]
    assert ("init", "UserService/AddUser", "OK") in told and ("init", "UserService/RemoveUser", "OK") in told
    assert ("anna", "BackupService/CancelRun", "") in told, "refused"
    assert ("anna", "BackupService/CancelRun", "RUN_UNKNOWN") in told
    tokens = {token_of(first), token_of(second)}
    assert len(tokens) == 2
    for token in tokens:
        assert token not in f"{logs}{made.out}{made.err}{renewed.out}{renewed.err}"
        places = [path for path in controller.config.state_dir.rglob("*") if path.is_file()]
        assert not [path for path in places if token.encode() in path.read_bytes()], "the controller never sees it"


def test_what_is_refused_leaves_no_file(controller: Controller, tmp_path: Path) -> None:
    admin, file = Cli(tmp_path, controller.config.operator_toml), tmp_path / "file.toml"
    file.write_text("precious")
    taken = admin("user", "add", "bert", "--role", "admin", "--operator-file", file, "--json")
    assert (taken.code, taken.reason, file.read_text()) == (5, "OPERATOR_FILE_EXISTS", "precious")
    other = tmp_path / "other.toml"
    for words, code, reason in (
        (("add", "init", "--role", "admin"), 5, "NAME_TAKEN"),
        (("renew", "init"), 5, "USER_BUILT_IN"),
    ):
        refused = admin("user", *words, "--operator-file", other, "--json")
        assert (refused.code, refused.reason, other.exists()) == (code, reason, False)


def request_id() -> str:
    return str(uuid.uuid4())


def refusal(error: pytest.ExceptionInfo[grpc.RpcError]) -> str:
    return reason_of(error.value)


def test_orders_happen_once_and_lists_come_in_pages(controller: Controller) -> None:
    users, tokens = (
        user_pb2_grpc.UserServiceStub(controller.channel),
        [hashlib.sha256(bytes([n])).digest() for n in range(4)],
    )
    names = ["alf", "eva", "kim", "zoe"]
    for name, token in zip(names, tokens, strict=True):
        request = user_pb2.AddUserRequest(
            request_id=request_id(), name=name, role=user_pb2.ROLE_VIEWER, token_sha256=token
        )
        assert users.AddUser(request).user == users.AddUser(request).user, "sent again it is the same"
    request.name = "ida"
    with pytest.raises(grpc.RpcError) as error:
        users.AddUser(request)
    assert refusal(error) == "REQUEST_ID_REUSED"
    request.request_id = request_id()
    with pytest.raises(grpc.RpcError) as error:
        users.AddUser(request)
    assert refusal(error) == "TOKEN_TAKEN"
    listed, page_token = [], ""
    while True:
        page = users.ListUsers(user_pb2.ListUsersRequest(page_size=2, page_token=page_token))
        listed += [(user.name, user.built_in) for user in page.users]
        if not (page_token := page.next_page_token):
            break
    assert listed == [("alf", False), ("eva", False), ("init", True), ("kim", False), ("zoe", False)]
    with pytest.raises(grpc.RpcError) as error:
        users.SetUser(user_pb2.SetUserRequest(request_id=request_id(), name="alf"))
    assert refusal(error) == "BAD_ROLE"
    for name in names:
        users.RemoveUser(user_pb2.RemoveUserRequest(request_id=request_id(), name=name))


def test_without_its_database_the_first_operator_is_let_in(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever must mend it has the state directory."""

    async def away() -> object:
        raise AssertionError("nobody asks the database who the first operator is")

    monkeypatch.setattr(controller.application._callers, "_users", away)
    answer = controller.backups.ListHosts(operator_pb2.ListHostsRequest())
    assert list(answer.hosts) == []


def test_a_role_of_a_later_version_keeps_nobody_else_out(tmp_path: Path) -> None:
    """Nor does it keep exports from being written: they keep the word."""
    known = KnownUser("anna", "AUDITOR", "aa", NOW, NOW, NOW)
    with closing(SqliteDatabase(tmp_path / "controller.sqlite")) as database:
        assert database.write_now(lambda transaction: put_back_users(transaction, [known])).there == ["anna"]
        (anna,) = database.read_now(lambda transaction: transaction.users.users())
    assert known_user(anna) == known and not anna.role.may(Role.VIEWER)
