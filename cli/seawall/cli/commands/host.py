"""`seawall host`: the hypervisor hosts and how one joins."""

from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration

from seawall.api.v1 import operator_pb2
from seawall.cli.commands.host_service import cordon_host, drain_host, revoke_host, set_host, show_host, uncordon_host
from seawall.cli.connection import new_request_id
from seawall.cli.exits import CommandError, Exit
from seawall.cli.host_text import host_state
from seawall.cli.numbers import number_option
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import age, local, parse_duration
from seawall.repository.clock import SystemClock, datetime_of

app = typer.Typer(name="host", no_args_is_help=True, help="Hypervisor hosts.")


@app.command("list")
def list_hosts(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the hosts that have joined, by name."""
    with session(config, as_json) as (controller, output):
        found = controller.pages(controller.backup.ListHosts, operator_pb2.ListHostsRequest(), "hosts")
        hosts = sorted(found, key=lambda host: host.name)
        if as_json:
            return output.json({"hosts": hosts})
        now = datetime_of(SystemClock().now_us())
        output.table(
            ("HOST", "STATE", ">VMS", "LAST SEEN", "HYPERVISOR", "AGENT", "CERTIFICATE UNTIL", "#ID"),
            (
                (
                    host.name,
                    host_state(host),
                    str(host.vm_count),
                    age(host.last_seen_at, now) if host.HasField("last_seen_at") else "never",
                    host.hypervisor_version,
                    host.agent_version,
                    local(host.certificate_expires_at),
                    host.host_id,
                )
                for host in hosts
            ),
            "No host has joined yet. `seawall host token` makes a token; `seawall agent join TOKEN` on the host uses it.",
        )


app.command("show")(show_host)
app.command("set")(set_host)
app.command("cordon")(cordon_host)
app.command("drain")(drain_host)
app.command("uncordon")(uncordon_host)
app.command("revoke")(revoke_host)


@app.command("token")
def make_token(
    ttl: Annotated[str, typer.Option(help="How long it may be used: 30m, 1h, 24h.")] = "1h",
    max_uses: Annotated[int, number_option(least=1, most=10_000, help="How many hosts may join with it.")] = 1,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a join token. It is shown once; give it to `seawall agent join` on the host.

    Example: seawall host token --ttl 24h --max-uses 20
    """
    with session(config, as_json) as (controller, output):
        lifetime = Duration()
        try:
            lifetime.FromTimedelta(parse_duration(ttl))
        except ValueError as error:
            raise CommandError(
                Exit.USAGE, "BAD_TTL", f"--ttl {ttl!r} is not a duration such as 30m, 1h or 24h."
            ) from error
        request = operator_pb2.CreateJoinTokenRequest(request_id=new_request_id(), ttl=lifetime, max_uses=max_uses)
        answer = controller.call(controller.admin.CreateJoinToken, request)
        if as_json:
            return output.json(answer)
        output.line(answer.token)
        output.note(
            f"Valid until {local(answer.expires_at)}. On the host: seawall agent join '{answer.token.split(':')[0]}:…'"
        )
