"""`seawall backup`: back up VMs now."""

from enum import StrEnum
from typing import Annotated

import typer

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.completion import repository_names, vm_names
from seawall.cli.connection import new_request_id
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.watch import finish, follow


class Freeze(StrEnum):
    """How hard to try to freeze the guest's file systems."""

    never = "never"
    attempt = "try"
    require = "require"


_FREEZE = {
    Freeze.never: resources_pb2.FREEZE_POLICY_NEVER,
    Freeze.attempt: resources_pb2.FREEZE_POLICY_TRY,
    Freeze.require: resources_pb2.FREEZE_POLICY_REQUIRE,
}


def start_backup(
    vms: Annotated[
        list[str],
        typer.Argument(
            metavar="VM",
            help="VMs by name, id, or enough of its first digits to be unique (8 at least).",
            autocompletion=vm_names,
        ),
    ],
    repo: Annotated[
        str,
        typer.Option(help="Repository; may be left out when there is exactly one.", autocompletion=repository_names),
    ] = "",
    freeze: Annotated[
        Freeze,
        typer.Option(
            help="Freeze the guest's file systems at the instant: never, try (go on without, with a warning), require (or fail)."
        ),
    ] = Freeze.attempt,
    exclude_disk: Annotated[
        list[str] | None, typer.Option(help="Leave out this disk (target name); may be repeated.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show progress until the runs are over; exit 1 when one failed.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back up VMs. All disks of a VM at one instant; only what changed is read and stored where that can be known.

    Example: seawall backup web1 db1 --wait
    """
    with session(config, as_json) as (controller, output):
        request = operator_pb2.StartBackupRequest(
            request_id=new_request_id(),
            vms=vms,
            repository=repo,
            freeze=_FREEZE[freeze],
            exclude_disks=exclude_disk or [],
        )
        runs = list(controller.call(controller.backup.StartBackup, request).runs)
        if wait:
            return finish(output, follow(controller, output, runs))
        if as_json:
            return output.json({"runs": runs})
        for run in runs:
            output.line(f"Run {run.run_id} backs up {run.vm_name} into {run.repository}.")
        output.note("Follow it with: seawall run watch " + " ".join(run.run_id for run in runs))
