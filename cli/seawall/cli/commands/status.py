"""`seawall status`: one screen."""

from collections.abc import Iterable
from datetime import datetime

from seawall.api.v1 import operator_pb2
from seawall.cli.output import Output
from seawall.cli.run_text import run_rows
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import age, size
from seawall.repository.clock import SystemClock, datetime_of


def show_status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """One screen: what is protected, what runs, what waits and why, what failed."""
    with session(config, as_json) as (controller, output):
        answer = controller.call(controller.backup.GetStatus, operator_pb2.GetStatusRequest())
        if as_json:
            output.json(answer)
        else:
            _print(output, answer, datetime_of(SystemClock().now_us()))


def _print(output: Output, answer: operator_pb2.GetStatusResponse, now: datetime) -> None:
    oldest = "-"
    if answer.HasField("oldest_newest_point_at"):
        oldest = age(answer.oldest_newest_point_at, now)
    saved = f" for {size(answer.protected_bytes)} of disks" if answer.points_total else ""
    output.table(
        ("", ""),
        (
            ("Hosts", _hosts(answer)),
            ("VMs", _vms(answer)),
            (
                "Points",
                f"{answer.points_total} ({answer.points_verified} verified), {size(answer.stored_bytes)} stored{saved}",
            ),
            ("Oldest newest point", oldest),
            (
                "Runs",
                f"{answer.runs_active} active, {answer.runs_waiting} waiting, {answer.runs_failed_24h} failed in 24 h",
            ),
            ("Controller", _controller(answer)),
            *([("Controllers", _replicas(answer.replicas))] if answer.replicas else []),
        ),
        "",
    )
    if answer.troubles:
        output.line("\nTroubles of the controller", style="bold")
        for trouble in answer.troubles:
            output.line(f"- {trouble}")
    if answer.repository_troubles:
        output.line("\nRepositories that cannot be used now", style="bold")
        for each in answer.repository_troubles:
            output.line(f"- {each.name}: {each.trouble}")
    if answer.open_runs:
        output.line("\nOpen runs", style="bold")
        output.table(*run_rows(answer.open_runs, now), "")
    if answer.recent_failures:
        output.line("\nRecent failures", style="bold")
        output.table(*run_rows(answer.recent_failures, now), "")


def _hosts(answer: operator_pb2.GetStatusResponse) -> str:
    online, upgrade = f"{answer.hosts_online} of {answer.hosts_total} online", answer.hosts_needing_upgrade
    refused = f"{upgrade} {'is' if upgrade == 1 else 'are'} refused until an upgrade (seawall host list)"
    return f"{online}, {refused}" if upgrade else online


def _vms(answer: operator_pb2.GetStatusResponse) -> str:
    """Protected is what a policy backs up; having a point is another matter, as ordered backups make points too."""
    told, without = f"{answer.vms_protected} of {answer.vms_total} have a point", answer.vms_unprotected
    if not answer.HasField("vms_unprotected"):
        return told
    return f"{told}, {without} unprotected (seawall vm list --unprotected)" if without else f"{told}, none unprotected"


def _replicas(replicas: Iterable[operator_pb2.Replica]) -> str:
    """Leader first."""
    ordered = sorted(replicas, key=lambda each: (not each.leads, each.operator_address))
    return ", ".join(f"{each.operator_address} leads" if each.leads else each.operator_address for each in ordered)


def _controller(answer: operator_pb2.GetStatusResponse) -> str:
    """An older one does not say how late it is."""
    if not answer.HasField("loop_lag_ms"):
        return answer.controller_version
    milliseconds = answer.loop_lag_ms
    late = f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds} ms"
    return f"{answer.controller_version}, at most {late} late in the last minute"
