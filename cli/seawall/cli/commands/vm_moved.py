"""`seawall vm moved`: an operator's word that a VM belongs where it is now, so that its backups go on from its points of before."""

from typing import Annotated

import typer

from seawall.api.v1 import operator_pb2
from seawall.cli.commands.vm_protect import VmArgument
from seawall.cli.completion import host_names
from seawall.cli.confirming import YesOption, confirm
from seawall.cli.connection import new_request_id
from seawall.cli.output import Output
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import local


def moved_vm(
    vm: VmArgument,
    to: Annotated[
        str,
        typer.Option(help="The host that must have it now; another one is refused.", autocompletion=host_names),
    ] = "",
    plan: Annotated[bool, typer.Option("--plan", "--dry-run", help="Show what it would mean; change nothing.")] = False,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that a VM moved to the host that reports it now: its next backup there goes on from the points that were taken elsewhere.

    That host can then read those points. After a live migration nobody needs to say it, as the old host does. Without a word the next
    backup reads the whole VM and uploads what no trusted host has verified yet.

    Example: seawall vm moved db1 --to host2
    """
    with session(config, as_json) as (controller, output):
        request = operator_pb2.ConfirmMoveRequest(vm=vm, host=to, plan_only=True)
        planned = controller.call(controller.backup.ConfirmMove, request)
        if plan or all(each.goes_on for each in planned.points):
            return _print(output, planned)
        if not as_json:
            _print(output, planned)
        host = f"{planned.vm.host_name} ({planned.vm.host_id})"
        if not yes:
            confirm(
                output,
                f"Does {planned.vm.name} belong to {host}, which may then read these points?",
                f"Host {host} could read the points of {planned.vm.name}.",
                "Nothing was changed.",
            )
        order = operator_pb2.ConfirmMoveRequest(
            request_id=new_request_id(), vm=planned.vm.vm_id, host=planned.vm.host_id
        )
        answer = controller.call(controller.backup.ConfirmMove, order)
        if as_json:
            return output.json(answer)
        output.line(f"The next backup of {answer.vm.name} on {planned.vm.host_name} goes on from its points.")


def _print(output: Output, answer: operator_pb2.ConfirmMoveResponse) -> None:
    if output.as_json:
        return output.json(answer)
    output.line(f"{answer.vm.name} is on {answer.vm.host_name} ({answer.vm.host_id}).")
    output.table(
        ("REPOSITORY", "NEWEST POINT", "TAKEN ON", "#HOST ID", "NEXT BACKUP"),
        (
            (
                each.repository_name,
                local(each.instant),
                each.host_name,
                each.host_id,
                "goes on from it" if each.goes_on else f"reads all anew: {each.why_not}",
            )
            for each in answer.points
        ),
        "It has no points.",
    )
    if answer.claimed_by:
        output.line(f"Said within a day that they run it as well: {', '.join(answer.claimed_by)}.")
