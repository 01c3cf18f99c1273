"""`seawall restore`: bring a restore point back on any host."""

from typing import Annotated

import typer

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.completion import host_names, point_ids
from seawall.cli.connection import new_request_id
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.watch import finish, follow


def start_restore(
    point: Annotated[
        str,
        typer.Argument(
            help="The point's id, or enough of its first digits to be unique (8 at least).", autocompletion=point_ids
        ),
    ],
    to: Annotated[str, typer.Option("--to", help="The host to restore to, by name or id.", autocompletion=host_names)],
    name: Annotated[
        str,
        typer.Option("--as", help="Another name for the restored VM; gives it a new UUID and new MAC addresses too."),
    ] = "",
    new_identity: Annotated[
        bool, typer.Option("--new-identity", help="New UUID and MAC addresses under the same name.")
    ] = False,
    start: Annotated[bool, typer.Option("--start", help="Start the VM when its disks are complete.")] = False,
    directory: Annotated[
        str, typer.Option(help="Folder on the target host for the disks. Default: the paths that they had.")
    ] = "",
    disk: Annotated[
        list[str] | None,
        typer.Option(help="Restore only this disk, as a file in --directory, without defining a VM; may be repeated."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show progress until it is over; exit 1 when it failed.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a point: every disk byte for byte, the VM defined again, started if you ask. Existing VMs and files are never overwritten.

    Example: seawall restore 0192f3c1-58aa --to host2 --start --wait
    """
    with session(config, as_json) as (controller, output):
        spec = resources_pb2.RestoreSpec(
            point_id=point,
            host_id=to,
            vm_name=name,
            new_identity=new_identity or bool(name),
            start=start,
            directory=directory,
            disks=disk or [],
        )
        request = operator_pb2.StartRestoreRequest(request_id=new_request_id(), spec=spec)
        run = controller.call(controller.backup.StartRestore, request).run
        if wait:
            return finish(output, follow(controller, output, [run]))
        if as_json:
            return output.json({"runs": [run]})
        output.line(f"Run {run.run_id} restores {run.vm_name}.")
        output.note(f"Follow it with: seawall run watch {run.run_id}")
