"""`seawall agent`: join a host to a controller, serve it, ask how it is."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from seawall.cli import compose
from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output
from seawall.cli.session import JsonOption, answering

app = typer.Typer(name="agent", no_args_is_help=True, help="The agent of a hypervisor host.")

StateDir = Annotated[
    Path | None, typer.Option(help="Key, certificate, journal, logs.", show_default="/var/lib/seawall/agent")
]
RunDir = Annotated[Path | None, typer.Option(help="Sockets.", show_default="/run/seawall/agent")]
HostName = Annotated[str | None, typer.Option(help="The name operators see.", show_default="this host's name")]
ConfigFile = Annotated[
    Path | None, typer.Option(help="The agent's own settings.", show_default="/etc/seawall/agent.toml")
]


@app.command("join")
def join(
    token: Annotated[str, typer.Argument(help="What `seawall host token` printed; '-' reads it from standard input.")],
    host_name: HostName = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the identity of a host that has joined already.")
    ] = False,
    state_dir: StateDir = None,
    config_file: ConfigFile = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol this host: makes its key here, gets a certificate for it. Safe to repeat after a lost answer.

    Example: seawall host token | ssh root@host1 seawall agent join -
    """
    with answering(as_json) as output:
        text = sys.stdin.read().strip() if token == "-" else token  # noqa: S105 - not a secret, the mark for standard input
        settings = compose.agent_config(config_file, state_dir=state_dir, host_name=host_name)
        identity = compose.join_agent(settings, text, force)
        if as_json:
            return output.json(identity)
        output.line(f"This host has joined as {identity['agent_id']}; its controller is {identity['agent_address']}.")
        output.note("Next: seawall agent run")


@app.command("run")
def run(
    state_dir: StateDir = None,
    run_dir: RunDir = None,
    scratch_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where old blocks go while a backup runs; QEMU must be able to write there.",
            show_default="/var/lib/seawall/scratch",
        ),
    ] = None,
    hypervisor: Annotated[str | None, typer.Option(help="libvirt URI.", show_default="qemu:///system")] = None,
    host_name: HostName = None,
    controller: Annotated[
        list[str] | None,
        typer.Option(
            help="host:port of the controller's agent port; may be repeated.", show_default="what joining gave"
        ),
    ] = None,
    config_file: ConfigFile = None,
) -> None:
    """Serve this host until SIGTERM or Ctrl-C. Logs go to standard error."""
    with answering(False):
        settings = compose.agent_config(
            config_file,
            state_dir=state_dir,
            run_dir=run_dir,
            scratch_dir=scratch_dir,
            hypervisor=hypervisor,
            host_name=host_name,
            controllers=tuple(controller) if controller else None,
        )
        raise typer.Exit(compose.run_agent(settings))


@app.command("status")
def status(run_dir: RunDir = None, config_file: ConfigFile = None, as_json: JsonOption = False) -> None:
    """How the agent on this host is; exit 7 when it does not run or has no contact with its controller."""
    with answering(as_json) as output:
        settings = compose.agent_config(config_file, run_dir=run_dir)
        answer = compose.agent_status(settings)
        if as_json:
            output.json(answer)
        else:
            _print(output, answer)
        if not answer.get("connected"):
            raise CommandError(
                Exit.UNREACHABLE, "NOT_CONNECTED", "The agent runs but has no contact with its controller; see its log."
            )


def _print(output: Output, answer: dict[str, Any]) -> None:
    output.table(
        ("", ""),
        (
            ("Agent", f"{answer['agent_id']}, version {answer['agent_version']}"),
            ("Controller", f"{answer['controller']}, {'connected' if answer['connected'] else 'no contact'}"),
            ("Last heartbeat", answer["last_heartbeat_at"] or "never"),
            ("Certificate until", answer["certificate_expires_at"] or "unknown"),
            ("Hypervisor", answer["hypervisor"] or "does not answer"),
            ("VMs", str(answer["vm_count"])),
            ("Last error", answer["last_error"] or "none"),
        ),
        "",
    )
    if answer["attempts"]:
        output.line()
        columns = ("#RUN", "KIND", "VM", "STATE", "PHASE", ">PID")
        keys = ("run_id", "kind", "vm_name", "state", "phase", "pid")
        output.table(columns, [[str(attempt[key]) for key in keys] for attempt in answer["attempts"]], "")
