"""Hosts as people read them: their state, their limits, what runs there."""

from seawall.api.v1 import limits_pb2, resources_pb2
from seawall.cli.explain_text import print_holders
from seawall.cli.limit_text import limit_rows
from seawall.cli.output import Output
from seawall.cli.text import count, local


def print_host(output: Output, found: limits_pb2.HostAdmission) -> None:
    host = found.host
    output.line(host.name, style="bold")
    output.line(f"id           {host.host_id}\nstate        {host_state(host)}")
    if host.HasField("needs_upgrade"):
        refused = host.needs_upgrade
        version = f"agent {refused.agent_version}, refused" if refused.agent_version else "refused"
        output.line(f"upgrade      {version} since {local(refused.since)}: {refused.sentence}", style="yellow")
    if host.HasField("last_seen_at"):
        output.line(f"last seen    {local(host.last_seen_at)}")
    output.line(
        f"hypervisor   {host.hypervisor_version}\nagent        {host.agent_version}\nvms          {host.vm_count}"
    )
    output.line(f"certificate  until {local(host.certificate_expires_at)}")
    if found.site:
        output.line(f"site         {found.site}")
    (row,) = limit_rows([found.limits])
    output.line(
        f"preparing    {row[1]}\nruns         {row[2]}{f' ({row[6]})' if row[6] else ''}\nbandwidth    {row[3]}"
    )
    if found.service == limits_pb2.HOST_SERVICE_DRAINING:
        left = f"{count(len(found.runs), 'run')} left" if found.runs else "drained: nothing runs here"
        output.line(f"draining     {left}", style="yellow")
    if found.waiting:
        output.line(f"waiting      {count(found.waiting, 'run')}")
    if found.runs:
        output.line("")
        print_holders(output, found.runs)


def host_state(host: resources_pb2.Host) -> str:
    if host.revoked:
        return "revoked"
    state = "online" if host.online else "offline"
    if host.HasField("needs_upgrade"):
        state += ", needs newer controller" if host.needs_upgrade.controller_is_older else ", needs upgrade"
    if host.draining:
        return f"{state}, draining"
    return f"{state}, cordoned" if host.cordoned else state
