"""`seawall vm protect` and `vm ignore`: how one VM is captured from now on, and which need not be."""

from enum import StrEnum
from typing import Annotated

import typer

from seawall.api.v1 import operator_pb2, resources_pb2
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
    settings_lines,
)
from seawall.cli.completion import tenant_names, vm_names
from seawall.cli.connection import Controller, new_request_id
from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output
from seawall.cli.session import ConfigOption, JsonOption, session

VmArgument = Annotated[
    str,
    typer.Argument(help="Name, id, or enough of its first digits to be unique (8 at least).", autocompletion=vm_names),
]


class Setting(StrEnum):
    """What may be unset, named as its option."""

    freeze = "freeze"
    freeze_limit = "freeze-limit"
    latency_ceiling = "latency-ceiling"
    limit = "limit"
    iops = "iops"
    exclude_disk = "exclude-disk"
    scratch_quota = "scratch-quota"
    compression = "compression"
    tenant = "tenant"
    everything = "all"


_FIELDS = {
    Setting.freeze_limit: "freeze_limit_ms",
    Setting.latency_ceiling: "latency_ceiling_ms",
    Setting.limit: "bytes_per_second",
    Setting.exclude_disk: "exclude_disks",
    Setting.scratch_quota: "scratch_quota_bytes",
}


def protect_vm(
    vm: VmArgument,
    freeze: FreezeOption = None,
    freeze_limit: FreezeLimitOption = None,
    latency_ceiling: CeilingOption = None,
    limit: LimitOption = None,
    iops: IopsOption = None,
    exclude_disk: ExcludeOption = None,
    scratch_quota: QuotaOption = None,
    compression: CompressionOption = None,
    tenant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=tenant_names,
            help="Whose it is, whatever its policies say: its points get keys and a place of this tenant, apart from all others. Its "
            "next backup reads everything when that changes.",
        ),
    ] = None,
    unset: Annotated[
        list[Setting] | None, typer.Option(help="Leave this to policies and defaults again; may be repeated.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how a VM is captured from now on. What is not named stays as it was; a backup command may want it otherwise for once.

    Example: seawall vm protect db1 --freeze require --latency-ceiling 20ms --limit 50MB/s
    """
    with session(config, as_json) as (controller, output):
        options = CaptureOptions(
            freeze, freeze_limit, latency_ceiling, limit, iops, exclude_disk, scratch_quota, compression
        )
        said = options.message()
        said.tenant = tenant or ""
        if not unset and said == resources_pb2.VmSettings():
            raise CommandError(
                Exit.USAGE,
                "NOTHING_SAID",
                "Say what shall be so, for example --latency-ceiling 20ms. `vm show` tells what is.",
            )
        fields = [_FIELDS.get(one, one.value) for one in unset or ()]
        _save(controller, output, operator_pb2.ProtectVmRequest(vm=vm, settings=said, unset=fields))


def ignore_vm(
    vm: VmArgument,
    because: Annotated[str, typer.Option(help="Why, for those who come after you.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="It shall be protected again.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide that a VM need not be protected: it is no longer listed as unprotected. `backup` still takes it.

    Example: seawall vm ignore scratch1 --because "is made anew each night"
    """
    with session(config, as_json) as (controller, output):
        if undo and because:
            raise CommandError(Exit.USAGE, "USAGE", "--undo takes no --because.")
        said = resources_pb2.VmSettings(ignored=not undo, ignored_because=because)
        unset = ["ignored"] if undo else []
        _save(controller, output, operator_pb2.ProtectVmRequest(vm=vm, settings=said, unset=unset))


def print_settings(output: Output, vm: resources_pb2.Vm) -> None:
    """A line for each thing that was said about the VM."""
    lines = list(settings_lines(vm.settings))
    if not lines:
        output.line("settings        none of its own: see `seawall vm protect --help`")
    for name, value in lines:
        output.line(f"{name:16}{value}")


def _save(controller: Controller, output: Output, request: operator_pb2.ProtectVmRequest) -> None:
    request.request_id = new_request_id()
    vm = controller.call(controller.backup.ProtectVm, request).vm
    if output.as_json:
        return output.json(vm)
    output.line(vm.name, style="bold")
    print_settings(output, vm)
    output.note("Runs that exist keep what they began with.")
