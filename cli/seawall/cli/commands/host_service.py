"""`seawall host show`, `set`, `cordon`, `drain`, `uncordon` and `revoke`: one host, and whether it takes work."""

from typing import Annotated

import typer

from seawall.api.v1 import limits_pb2, operator_pb2
from seawall.cli.completion import host_names
from seawall.cli.confirming import YesOption, confirm
from seawall.cli.connection import Controller, new_request_id
from seawall.cli.exits import CommandError, Exit
from seawall.cli.host_text import print_host
from seawall.cli.output import Output
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import count
from seawall.repository.clock import SystemClock

HostArgument = Annotated[str, typer.Argument(metavar="HOST", help="Name or id.", autocompletion=host_names)]
LOOK_SECONDS = 2.0


def show_host(host: HostArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show one host: its state, its limits, what runs there, and why nothing does."""
    with session(config, as_json) as (controller, output):
        found = controller.call(controller.limits.GetHost, limits_pb2.GetHostRequest(host=host)).host
        if as_json:
            return output.json(found)
        print_host(output, found)


def set_host(
    host: HostArgument,
    site: Annotated[str, typer.Option(help="Where it stands, for limits of the site; an empty one takes it back.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say where a host stands. Example: seawall host set kvm1 --site berlin"""
    with session(config, as_json) as (controller, output):
        request = limits_pb2.SetHostRequest(request_id=new_request_id(), host=host, site=site)
        _answer(output, controller.call(controller.limits.SetHost, request).host)


def cordon_host(host: HostArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Start nothing new on a host, restores neither. What runs there goes on; what waits for it waits."""
    with session(config, as_json) as (controller, output):
        _answer(output, _serve(controller, host, limits_pb2.HOST_SERVICE_CORDONED))


def uncordon_host(host: HostArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Put a host back into service, at once: its circuit breaker is closed too."""
    with session(config, as_json) as (controller, output):
        _answer(output, _serve(controller, host, limits_pb2.HOST_SERVICE_IN_SERVICE))


def drain_host(
    host: HostArgument,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until nothing runs there any more, or only begin.")
    ] = True,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel what runs there, restores too, instead of waiting for its end.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Empty a host, before maintenance: nothing new starts, what runs is waited for. Put it back with `seawall host uncordon`.

    Ctrl-C ends the waiting, not the draining.
    """
    with session(config, as_json) as (controller, output):
        found = _serve(controller, host, limits_pb2.HOST_SERVICE_DRAINING)
        if cancel:
            for run in found.runs:
                _cancel(controller, run.run_id)
        if wait:
            found = _wait(controller, output, found)
        if as_json:
            return output.json(found)
        print_host(output, found)


def revoke_host(
    host: HostArgument,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse a host for ever, within 5 seconds, whatever certificate it shows: it was stolen, or it is gone for good.

    Its restore points stay. To come back it joins with a new token, as a new host: seawall host token

    Signed URLs that it was given already, each for one object of the store, work until they expire: for an hour at most, or what
    timings.url_ttl_seconds of controller.toml says.
    """
    with session(config, as_json) as (controller, output):
        found = controller.call(controller.limits.GetHost, limits_pb2.GetHostRequest(host=host)).host.host
        if not yes:
            confirm(
                output,
                f"Refuse {found.name} ({found.host_id}) for ever?",
                f"{found.name} would be refused for ever.",
                refused="Nothing was revoked.",
            )
        request = operator_pb2.RevokeHostRequest(request_id=new_request_id(), host=found.host_id)
        answer = controller.call(controller.admin.RevokeHost, request)
        if as_json:
            return output.json(answer)
        output.line(f"{found.name} is revoked: within 5 seconds no call of it is answered any more.")
        output.note("Runs on it end as failed once its lease is over. Its restore points stay.")
        output.note(
            "Signed URLs that it has already work until they expire: for an hour, unless timings.url_ttl_seconds says otherwise."
        )


def _wait(controller: Controller, output: Output, found: limits_pb2.HostAdmission) -> limits_pb2.HostAdmission:
    shown = -1
    while found.runs:
        if len(found.runs) != shown:
            shown = len(found.runs)
            output.note(f"{found.host.name}: {count(shown, 'run')} left.")
        SystemClock().sleep_seconds(LOOK_SECONDS)
        found = controller.call(controller.limits.GetHost, limits_pb2.GetHostRequest(host=found.host.host_id)).host
        if found.service != limits_pb2.HOST_SERVICE_DRAINING:
            raise CommandError(Exit.FAILED, "NOT_DRAINING", f"Somebody put {found.host.name} back into service.")
    return found


def _cancel(controller: Controller, run_id: str) -> None:
    request = operator_pb2.CancelRunRequest(request_id=new_request_id(), run=run_id)
    try:
        controller.call(controller.backup.CancelRun, request)
    except CommandError as error:
        if error.reason != "RUN_OVER":
            raise


def _serve(controller: Controller, host: str, service: "limits_pb2.HostService.ValueType") -> limits_pb2.HostAdmission:
    request = limits_pb2.SetHostRequest(request_id=new_request_id(), host=host, service=service)
    found: limits_pb2.HostAdmission = controller.call(controller.limits.SetHost, request).host
    return found


def _answer(output: Output, found: limits_pb2.HostAdmission) -> None:
    if output.as_json:
        return output.json(found)
    print_host(output, found)
