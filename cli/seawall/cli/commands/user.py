"""`seawall user`: who operates, and as what."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from seawall.api.v1 import user_pb2
from seawall.cli.completion import user_names
from seawall.cli.confirming import YesOption, confirm
from seawall.cli.connection import PAGE_SIZE, new_request_id
from seawall.cli.operator_file import new_operator_file
from seawall.cli.output import Output
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import local
from seawall.cli.view import word

FELT = "within 5 seconds; a watch that is open ends with its connection, within 31 minutes"

app = typer.Typer(
    name="user",
    no_args_is_help=True,
    help="Users: people and programs that operate, each with a token and a role of their own.\n\n"
    "viewer: looks. operator: also backs up, restores, cancels, and sets policies, holds, limits and hosts' service. "
    "admin: also users, hosts that join or are revoked, repositories, certificates and the deletion of points.\n\n"
    "The first operator, of `controller init`, is called init: an admin who cannot be changed or removed here.",
)


class RoleWord(StrEnum):
    """A role, as one types it."""

    viewer = "viewer"
    operator = "operator"
    admin = "admin"


NewNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, and . _ - between them.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the user.", autocompletion=user_names)]
RoleOption = Annotated[RoleWord, typer.Option("--role", help="What the user may do; each includes the one before.")]
FileOption = Annotated[
    Path,
    typer.Option("--operator-file", metavar="FILE", help="New file for that user: address, CA and token. Mode 0600."),
]


@app.command("list")
def list_users(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the users, their roles, and since when their tokens are."""
    with session(config, as_json) as (controller, output):
        users = controller.pages(controller.users.ListUsers, user_pb2.ListUsersRequest(page_size=PAGE_SIZE), "users")
        if as_json:
            return output.json({"users": users})
        output.table(("USER", "ROLE", "SINCE", "TOKEN SINCE"), map(_row, users), "No users.")


@app.command("whoami")
def show_caller(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say which user the token of this operator file is."""
    with session(config, as_json) as (controller, output):
        found = controller.call(controller.users.GetCaller, user_pb2.GetCallerRequest()).user
        if as_json:
            return output.json(found)
        output.line(f"{found.name}, {word(found, 'role')}")


@app.command("add")
def add_user(
    name: NewNameArgument,
    role: RoleOption,
    operator_file: FileOption,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a user, and write the operator file that this user works with. Its token is made here; the controller learns its hash alone.

    Carry the file to that person in a way that nobody else reads, to ~/.config/seawall/operator.toml there, and delete it here.

    Example: seawall user add anna --role viewer --operator-file anna.toml
    """
    with session(config, as_json) as (controller, output), new_operator_file(operator_file, controller.config) as token:
        request = user_pb2.AddUserRequest(
            request_id=new_request_id(), name=name, role=_number(role), token_sha256=token
        )
        found = controller.call(controller.users.AddUser, request).user
        _answer(output, found, operator_file)


@app.command("set")
def set_user(name: NameArgument, role: RoleOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Give a user another role. It holds at every controller within 5 seconds.

    Example: seawall user set anna --role operator
    """
    with session(config, as_json) as (controller, output):
        request = user_pb2.SetUserRequest(request_id=new_request_id(), name=name, role=_number(role))
        request.update_mask.paths.append("role")
        found = controller.call(controller.users.SetUser, request).user
        _answer(output, found)


@app.command("renew")
def renew_token(
    name: NameArgument, operator_file: FileOption, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Give a user a new token, in a new operator file: the old one was seen by others, or is lost. The old one is refused within 5 seconds.

    Example: seawall user renew anna --operator-file anna-2.toml
    """
    with session(config, as_json) as (controller, output), new_operator_file(operator_file, controller.config) as token:
        request = user_pb2.RenewUserTokenRequest(request_id=new_request_id(), name=name, token_sha256=token)
        found = controller.call(controller.users.RenewUserToken, request).user
        _answer(output, found, operator_file)
        output.note(f"The token of before is refused {FELT}.")


@app.command("remove")
def remove_user(
    name: NameArgument, yes: YesOption = False, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Remove a user: its token is refused within 5 seconds. What it ordered goes on."""
    with session(config, as_json) as (controller, output):
        if not yes:
            consequence = f"User {name} would be removed."
            confirm(output, f"Remove user {name}?", consequence, refused="Nobody was removed.")
        controller.call(controller.users.RemoveUser, user_pb2.RemoveUserRequest(request_id=new_request_id(), name=name))
        if as_json:
            return output.json({"removed": name})
        output.line(f"{name} is removed.")
        output.note(f"The token is refused {FELT}.")


def _answer(output: Output, found: user_pb2.User, operator_file: Path | None = None) -> None:
    if output.as_json:
        where = {"operator_file": str(operator_file.absolute())} if operator_file else {}
        return output.json({"user": found} | where)
    output.line(f"{found.name}, {word(found, 'role')}")
    if operator_file is not None:
        output.line(f"The operator file of {found.name}: {operator_file}")


def _row(user: user_pb2.User) -> tuple[str, ...]:
    if user.built_in:
        return user.name, word(user, "role"), "controller init", "controller init"
    return user.name, word(user, "role"), local(user.created_at), local(user.token_created_at)


def _number(role: RoleWord) -> "user_pb2.Role.ValueType":
    return user_pb2.Role.Value(f"ROLE_{role.value.upper()}")
