"""`seawall backup`: back up VMs now."""

from typing import Annotated

import typer

from seawall.api.v1 import operator_pb2
from seawall.cli.capture_options import (
    CaptureOptions,
    CeilingOption,
    CompressionOption,
    ExcludeOption,
    FreezeLimitOption,
    FreezeOption,
    IopsOption,
    LimitOption,
    QuotaOption,
)
from seawall.cli.completion import repository_names, vm_names
from seawall.cli.exits import Exit
from seawall.cli.many_backups import Ordered, document, order, print_left_out
from seawall.cli.output import Output
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import count
from seawall.cli.watch import Ended, finish
from seawall.cli.watch_many import follow_any


def start_backup(
    vms: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VM",
            help="VMs by name, id, or enough of its first digits to be unique (8 at least).",
            autocompletion=vm_names,
        ),
    ] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Instead of VMs: all that hosts report, but for those that `vm ignore` leaves out."),
    ] = False,
    repo: Annotated[
        str,
        typer.Option(help="Repository; may be left out when there is exactly one.", autocompletion=repository_names),
    ] = "",
    freeze: FreezeOption = None,
    freeze_limit: FreezeLimitOption = None,
    latency_ceiling: CeilingOption = None,
    limit: LimitOption = None,
    iops: IopsOption = None,
    exclude_disk: ExcludeOption = None,
    scratch_quota: QuotaOption = None,
    compression: CompressionOption = None,
    together: Annotated[
        bool,
        typer.Option(
            "--together",
            help="All VMs, which are on one host, at one instant: their guests stay frozen until the last snapshot has begun.",
        ),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show progress until the runs are over; exit 1 when one failed.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back up VMs. All disks of a VM at one instant; only what changed is read and stored where that can be known.

    What is not said here is as `vm protect` says, else as by default: --freeze try --latency-ceiling auto, no limits.

    However many they are: limits decide how many run at once. A VM that is being backed up gets no second run.

    Example: seawall backup web1 db1 --wait
    """
    if every == bool(vms):
        raise typer.BadParameter(
            "VMs by name as well as --all." if every else "Missing argument VM: name some, or say --all."
        )
    with session(config, as_json) as (controller, output):
        options = CaptureOptions(
            freeze, freeze_limit, latency_ceiling, limit, iops, exclude_disk, scratch_quota, compression
        )
        request = operator_pb2.StartBackupRequest(
            vms=vms, repository=repo, settings=options.message(), together=together, all_vms=every
        )
        ordered = order(controller, output, request)
        if not as_json:
            _print(output, ordered, wait=wait)
        if wait and ordered.run_ids:
            found = follow_any(controller, output, ordered.run_ids, ordered.runs)
            finish(output, found, document(ordered))
        elif as_json:
            output.json(document(ordered))
        if ordered.incomplete or not ordered.run_ids:
            raise Ended(Exit.REFUSED)


def _print(output: Output, ordered: Ordered, *, wait: bool) -> None:
    print_left_out(output, ordered)
    if wait:
        return
    for run in ordered.runs:
        output.line(f"Run {run.run_id} backs up {run.vm_name} into {run.repository}.")
    if ordered.runs:
        output.note("Follow it with: seawall run watch " + " ".join(ordered.run_ids))
    else:
        output.line(f"{count(len(ordered.run_ids), 'backup')} ordered.")
        output.note("Follow all runs with: seawall run watch")
