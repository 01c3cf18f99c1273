"""`seawall vm`: the machines that the hosts report."""

from typing import Annotated

import typer

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.commands.vm_moved import moved_vm
from seawall.cli.commands.vm_protect import ignore_vm, print_settings, protect_vm
from seawall.cli.completion import host_names, vm_names
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import age, count, local, size
from seawall.repository.clock import SystemClock, datetime_of

app = typer.Typer(name="vm", no_args_is_help=True, help="Virtual machines.")
app.command("protect")(protect_vm)
app.command("ignore")(ignore_vm)
app.command("moved")(moved_vm)


@app.command("list")
def list_vms(
    host: Annotated[str, typer.Option(help="Only the VMs of this host.", autocompletion=host_names)] = "",
    unprotected: Annotated[
        bool,
        typer.Option(
            "--unprotected", help="Only those of which no policy backs up anything and that nobody said to ignore."
        ),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the VMs of all hosts, with the age of their newest point and the policies that protect them."""
    with session(config, as_json) as (controller, output):
        request = operator_pb2.ListVmsRequest(host=host, unprotected=unprotected)
        vms = controller.pages(controller.backup.ListVms, request, "vms")
        if as_json:
            return output.json({"vms": vms})
        now = datetime_of(SystemClock().now_us())
        output.table(
            ("VM", "HOST", "STATE", ">DISKS", ">SIZE", "NEWEST POINT", "POLICIES", "#ID"),
            (
                (
                    vm.name,
                    vm.host_name if vm.present else f"(was on {vm.host_name})",
                    vm.state if vm.present else "gone",
                    str(len(vm.disks)),
                    size(sum(disk.size_bytes for disk in vm.disks)),
                    age(vm.last_point_at, now) if vm.HasField("last_point_at") else "never",
                    ", ".join(vm.policies) or ("ignored" if vm.settings.ignored else "none"),
                    vm.vm_id,
                )
                for vm in vms
            ),
            "Every VM is protected by a policy, or ignored."
            if unprotected
            else "No VM is known. Hosts report theirs within a minute of joining.",
        )
        for vm in vms:
            if vm.unprotected_because:
                output.line(f"{vm.name}: {vm.unprotected_because}", style="yellow")


def _verified(vm: resources_pb2.Vm) -> str:
    """Of its newest point."""
    if not vm.last_point_verified:
        return "not verified"
    when = datetime_of(SystemClock().now_us())
    return f"verified {age(vm.last_point_read_back_at, when)}" if vm.HasField("last_point_read_back_at") else "verified"


@app.command("show")
def show_vm(
    vm: Annotated[
        str,
        typer.Argument(
            help="Name, id, or enough of its first digits to be unique (8 at least).", autocompletion=vm_names
        ),
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one VM and its disks."""
    with session(config, as_json) as (controller, output):
        found = controller.call(controller.backup.GetVm, operator_pb2.GetVmRequest(vm=vm)).vm
        if as_json:
            return output.json(found)
        newest = (
            f"{found.last_point_id} of {local(found.last_point_at)}, {_verified(found)}"
            if found.last_point_id
            else "none"
        )
        output.line(f"{found.name}", style="bold")
        output.line(f"id      {found.vm_id}\nhost    {found.host_name}\nstate   {found.state}\nnewest  {newest}")
        output.line(f"policy  {', '.join(found.policies) or 'none'}")
        if found.unprotected_because:
            output.line(f"        {found.unprotected_because}", style="yellow")
        if found.tags:
            output.line(f"tags    {', '.join(found.tags)}")
        output.line()
        output.table(
            ("DISK", "DEVICE", "FORMAT", ">SIZE", "SOURCE", "STORAGE"),
            (
                (
                    disk.disk,
                    disk.device + (" (read-only)" if disk.read_only else ""),
                    disk.format,
                    size(disk.size_bytes),
                    disk.source,
                    ", ".join(disk.storages),
                )
                for disk in found.disks
            ),
            f"{found.name} has {count(0, 'disk')}.",
        )
        output.line()
        print_settings(output, found)
