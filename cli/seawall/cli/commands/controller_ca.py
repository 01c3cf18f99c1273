"""`seawall controller ca`: the certificate authority, and its replacement under way."""

from typing import Annotated

import typer

from seawall.api.v1 import operator_pb2
from seawall.cli.authority_text import phase_text, print_authority, print_behind, settled
from seawall.cli.completion import host_names
from seawall.cli.confirming import YesOption, confirm
from seawall.cli.connection import Controller, new_request_id
from seawall.cli.exits import CommandError
from seawall.cli.output import Output
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import count
from seawall.repository.clock import SystemClock

LOOK_SECONDS = 1.0

app = typer.Typer(name="ca", no_args_is_help=True, help="The certificate authority that hosts and operators trust.")

WithoutOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HOST",
        autocompletion=host_names,
        help="Do not wait for this host; may be repeated. Should it ever come back it recovers by itself, unless it was revoked.",
    ),
]


@app.command("show")
def show_authority(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the certificate authority: its roots, how far a rotation is, and which hosts it waits for and why."""
    with session(config, as_json) as (controller, output):
        found = _asked(controller)
        if as_json:
            return output.json(found)
        print_authority(output, found)


@app.command("rotate")
def rotate_authority(
    without: WithoutOption = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would wait for; change nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is done.")] = False,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace the certificate authority: because its key may have been seen by others, or it nears its end. No host joins anew.

    The controller carries it out by itself, over restarts: every host is told to trust the new one, then gets a certificate of it, then
    the old one is retired and its keys are gone. Nothing advances while a host is behind; asked again, this leaves out more hosts.
    operator.toml files are brought up to date by the first command that uses them.

    Example: seawall controller ca rotate --plan
    """
    with session(config, as_json) as (controller, output):
        planned = _ordered(controller, without, plan=True)
        if plan:
            if as_json:
                return output.json(planned)
            return _print_plan(output, planned)
        if settled(planned) and not yes:
            away = f" {count(planned.behind_total, 'host')} of {planned.hosts_total} would have to come back first (--plan names them)."
            confirm(
                output,
                f"Replace the certificate authority?{away if planned.behind_total else ''}",
                "The certificate authority would be replaced.",
                refused="Nothing was changed.",
            )
        found = _ordered(controller, without, plan=False)
        found = _awaited(controller, output, found) if wait else found
        if as_json:
            return output.json(found)
        print_authority(output, found)
        if not settled(found):
            output.note("The controller goes on by itself; `seawall controller ca show` says how far it is.")


@app.command("cancel")
def cancel_rotation(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Go back to the old certificate authority, as long as the new one has signed nothing."""
    with session(config, as_json) as (controller, output):
        request = operator_pb2.CancelRotationRequest(request_id=new_request_id())
        found = controller.call(controller.admin.CancelRotation, request).authority
        if as_json:
            return output.json(found)
        output.line("The old certificate authority stays; hosts that trust the new one already are told to forget it.")


def _asked(controller: Controller) -> operator_pb2.Authority:
    answer = controller.call(controller.admin.GetAuthority, operator_pb2.GetAuthorityRequest())
    found: operator_pb2.Authority = answer.authority
    return found


def _ordered(controller: Controller, without: list[str] | None, *, plan: bool) -> operator_pb2.Authority:
    request = operator_pb2.RotateAuthorityRequest(
        request_id="" if plan else new_request_id(), without=without or [], plan_only=plan
    )
    found: operator_pb2.Authority = controller.call(controller.admin.RotateAuthority, request).authority
    return found


def _awaited(controller: Controller, output: Output, found: operator_pb2.Authority) -> operator_pb2.Authority:
    """Says each change. An unreachable controller in between is waited for: it shows another certificate meanwhile."""
    said = ""
    while not settled(found):
        text = f"{phase_text(found)}; {count(found.behind_total, 'host')} behind"
        if text != said:
            said = text
            output.note(f"{text}.")
        SystemClock().sleep_seconds(LOOK_SECONDS)
        try:
            found = _asked(controller)
        except CommandError as error:
            if error.reason != "UNAVAILABLE":
                raise
    return found


def _print_plan(output: Output, planned: operator_pb2.Authority) -> None:
    if not settled(planned):
        output.line(f"It is being replaced already: {phase_text(planned)}.")
    print_behind(output, planned)
