"""`seawall limit`: how much may run at once, and how fast."""

from typing import Annotated

import typer

from seawall.api.v1 import limits_pb2
from seawall.cli.amounts import parse_rate
from seawall.cli.completion import limit_scopes, vm_names
from seawall.cli.confirming import YesOption, confirm
from seawall.cli.connection import PAGE_SIZE, Controller, new_request_id
from seawall.cli.exits import CommandError, Exit
from seawall.cli.limit_text import COLUMNS, limit_rows
from seawall.cli.numbers import number_option
from seawall.cli.output import Output
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import count

app = typer.Typer(
    name="limit",
    no_args_is_help=True,
    help="Limits: how much may run at once, and how fast. They hold from the next moment on; what runs goes on.",
)

_SCOPE = (
    "global, or a kind with or without a name: host, host:NAME, site:NAME, tenant:NAME, storage:NAME, repository:NAME, "
    "label:TAG. Storages are named as `limit list --all` and `vm show` do: nfs:nas:/vol1, rbd:pool, HOST:/MOUNT/POINT, HOST:/dev/VG. "
    "Without a name: for each one that has no limit of its own."
)
MOST = 1_000_000_000
"""What the controller takes."""
ScopeArgument = Annotated[str, typer.Argument(metavar="SCOPE", help=_SCOPE, autocompletion=limit_scopes)]


@app.command("list")
def list_limits(
    every: Annotated[
        bool, typer.Option("--all", help="Also hosts, sites, storages, repositories and tags that run nothing.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the limits in effect, and what is in use of each: used/limit.

    PREPARING counts backups until their snapshot is taken. TRANSFERRING counts all that runs, also what prepares: a snapshot must not
    wait for its turn. Of the global limit a tenth, and of each host's limit one slot, are kept for restores.
    """
    with session(config, as_json) as (controller, output):
        request = limits_pb2.ListLimitsRequest(all=every, page_size=PAGE_SIZE)
        found = controller.pages(controller.limits.ListLimits, request, "limits")
        if as_json:
            return output.json({"limits": found})
        _print(output, found)


@app.command("set")
def set_limit(
    scope: ScopeArgument,
    preparing: Annotated[
        int | None, number_option(least=1, most=MOST, help="Backups before their snapshot is taken.")
    ] = None,
    transferring: Annotated[int | None, number_option(least=1, most=MOST, help="Runs altogether.")] = None,
    bandwidth: Annotated[
        str, typer.Option(metavar="RATE", help="Between hosts and stores: 200MiB/s. Global, sites and hosts.")
    ] = "",
    weight: Annotated[
        int | None,
        number_option(least=1, most=MOST, help="Of a tenant: 2 gets twice as many slots as 1 where they compete."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set limits of one scope; those that are not named stay.

    \b
    Examples:
      seawall limit set host --transferring 5
      seawall limit set storage:nfs:nas:/vol1 --transferring 4
      seawall limit set storage:kvm1:/srv --preparing 1
    """
    with session(config, as_json) as (controller, output):
        request = limits_pb2.SetLimitRequest(
            request_id=new_request_id(),
            scope=scope,
            preparing=preparing,
            transferring=transferring,
            bandwidth=_rate(bandwidth) if bandwidth else None,
            weight=weight,
        )
        found = controller.call(controller.limits.SetLimit, request).limits
        if as_json:
            return output.json(found)
        _print(output, [found])
        if found.unknown:
            output.event(
                f"Warning: {found.scope} is nothing that there is now. The limit holds nothing back until there is."
            )


@app.command("unset")
def unset_limit(
    scope: ScopeArgument,
    preparing: Annotated[bool, typer.Option("--preparing")] = False,
    transferring: Annotated[bool, typer.Option("--transferring")] = False,
    bandwidth: Annotated[bool, typer.Option("--bandwidth")] = False,
    weight: Annotated[bool, typer.Option("--weight")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take limits of one scope back: all of them, or those named. What holds for each of its kind then holds for it."""
    with session(config, as_json) as (controller, output):
        request = limits_pb2.UnsetLimitRequest(
            request_id=new_request_id(),
            scope=scope,
            preparing=preparing,
            transferring=transferring,
            bandwidth=bandwidth,
            weight=weight,
        )
        found = controller.call(controller.limits.UnsetLimit, request).limits
        if as_json:
            return output.json(found)
        _print(output, [found])


@app.command("apart")
def keep_apart(
    group: Annotated[str, typer.Argument(metavar="GROUP", help="A name of your choice.")],
    vms: Annotated[list[str], typer.Argument(metavar="VM", help="Names or ids.", autocompletion=vm_names)],
    together: Annotated[bool, typer.Option("--remove", help="Take them out of the group again.")] = False,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Never back up these VMs at the same time: the members of a cluster, say.

    VMs that carry a tag of the group's name belong to it too. Where that binds VMs that were not named, or where the group's name is that
    of a VM, a new group is asked about first. Another limit than one at once: seawall limit set label:GROUP --transferring 2.

    Example: seawall limit apart galera db-1 db-2 db-3
    """
    with session(config, as_json) as (controller, output):
        request = limits_pb2.SetApartRequest(request_id=new_request_id(), label=group, vms=vms, together=together)
        if not yes and not together:
            _ask_about(controller, output, request)
        found = controller.call(controller.limits.SetApart, request)
        if as_json:
            tagged = found.tagged if found.HasField("tagged") else None
            return output.json({"group": group, "vms": list(found.vms), "tagged": tagged})
        output.line(f"{group}: {', '.join(found.vms) or 'no VM'}")
        output.line(_members(group, found))


def _ask_about(controller: Controller, output: Output, request: limits_pb2.SetApartRequest) -> None:
    """Raises CommandError/NOT_CONFIRMED where the group is not what was probably meant."""
    plan = limits_pb2.SetApartRequest(request_id=new_request_id(), label=request.label, vms=request.vms, plan_only=True)
    doubt = _doubt(request.label, controller.call(controller.limits.SetApart, plan))
    if doubt:
        confirm(output, f"{doubt} Go on?", doubt, refused="Nothing was changed.")


def _doubt(group: str, planned: limits_pb2.SetApartResponse) -> str:
    """Why the new group may not be meant; empty where nothing speaks against it."""
    if not planned.is_new:
        return ""
    if planned.vm_so_named:
        return f"{group} is a VM ({planned.vm_so_named}): the first word is the group's name, so that VM would be no member."
    if planned.tagged:
        total = len(planned.vms) + planned.tagged
        return f"{count(planned.tagged, 'other VM')} with the tag {group} would belong to the group: one at a time of all {total}."
    return ""


def _members(group: str, found: limits_pb2.SetApartResponse) -> str:
    if not found.HasField("tagged"):  # of an older controller
        return f"{count(len(found.vms), 'VM')} put into the group; those with the tag {group} belong to it too."
    told = f"{count(len(found.vms) + found.tagged, 'VM')} in the group now"
    return f"{told}, {found.tagged} of them by the tag {group}." if found.tagged else f"{told}."


def _print(output: Output, limits: "list[limits_pb2.ScopeLimits]") -> None:
    output.table(COLUMNS, limit_rows(limits), "No limits.")


def _rate(text: str) -> int:
    try:
        return parse_rate(text)
    except ValueError as error:
        raise CommandError(Exit.USAGE, "BAD_RATE", f"--bandwidth {text!r} is not a rate such as 200MiB/s.") from error
