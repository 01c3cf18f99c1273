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
from seawall.cli.connection import new_request_id
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.watch import finish, follow


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

    Example: seawall backup web1 db1 --wait
    """
    with session(config, as_json) as (controller, output):
        options = CaptureOptions(
            freeze, freeze_limit, latency_ceiling, limit, iops, exclude_disk, scratch_quota, compression
        )
        request = operator_pb2.StartBackupRequest(
            request_id=new_request_id(), vms=vms, repository=repo, settings=options.message(), together=together
        )
        runs = list(controller.call(controller.backup.StartBackup, request).runs)
        if wait:
            return finish(output, follow(controller, output, runs))
        if as_json:
            return output.json({"runs": runs})
        for run in runs:
            output.line(f"Run {run.run_id} backs up {run.vm_name} into {run.repository}.")
        output.note("Follow it with: seawall run watch " + " ".join(run.run_id for run in runs))
