"""`seawall controller`: make a controller, serve, and rebuild one from a bucket."""

from pathlib import Path
from typing import Annotated

import typer

from seawall.cli import compose, controller_process
from seawall.cli.commands import controller_ca
from seawall.cli.commands.controller_recover import recover_catalogue
from seawall.cli.controller_options import ConfigFile, StateDir, as_typed
from seawall.cli.session import JsonOption, answering

app = typer.Typer(name="controller", no_args_is_help=True, help="The controller of a fleet.")

app.command("recover")(recover_catalogue)
app.add_typer(controller_ca.app)

OperatorListen = Annotated[
    str | None, typer.Option(help="Where operators and joining hosts are served.", show_default="0.0.0.0:7440")
]
AgentListen = Annotated[str | None, typer.Option(help="Where agents are served (mTLS).", show_default="0.0.0.0:7441")]
AgentAddress = Annotated[str | None, typer.Option(help="host:port that agents dial.", show_default="this host's name")]
EnrolAddress = Annotated[
    str | None,
    typer.Option(help="host:port that joining hosts dial; stands in join tokens.", show_default="this host's name"),
]
Names = Annotated[
    list[str] | None, typer.Option("--name", help="Another DNS name or IP address of this controller; may be repeated.")
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database",
        help="postgresql://USER@HOST:PORT/NAME, without a password: for several controllers on one database.",
        show_default="SQLite in the state directory",
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--database-password-file", help="One line, mode 0600.", show_default="PGPASSFILE or ~/.pgpass"),
]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")]


@app.command("init")
def init(
    state_dir: StateDir = None,
    operator_listen: OperatorListen = None,
    agent_listen: AgentListen = None,
    agent_address: AgentAddress = None,
    enrol_address: EnrolAddress = None,
    name: Names = None,
    database: DatabaseUrl = None,
    database_password_file: PasswordFile = None,
    config_out: Annotated[
        Path | None,
        typer.Option(help="Where operator.toml goes (mode 0600).", show_default="/etc/seawall/operator.toml"),
    ] = None,
    config_file: ConfigFile = None,
    as_json: JsonOption = False,
) -> None:
    """Create the CA, the keys and the first operator token. Safe to repeat: what is there stays.

    Example: seawall controller init --enrol-address backup.example.net:7440 --agent-address backup.example.net:7441
    """
    with answering(as_json) as output:
        given = {
            "state_dir": state_dir,
            "operator_listen": operator_listen,
            "agent_listen": agent_listen,
            "agent_address": agent_address,
            "enrol_address": enrol_address,
            "server_names": tuple(name) if name else None,
            "database": database,
            "database_password_file": database_password_file,
        }
        settings = compose.controller_config(config_file, operator_file=config_out, **given)
        made = compose.initialise_controller(settings)
        if as_json:
            return output.json(made)
        if made["created"]:
            output.line(f"The controller is ready in {made['state_dir']}.")
        else:
            output.line(f"There is a controller in {made['state_dir']} already; nothing was changed.")
        output.line(f"Operators use {made['operator_file']} (keep it secret).")
        output.note(f"Next: seawall controller run{as_typed({'config_file': config_file, **given})}")


@app.command("run")
def run(
    state_dir: StateDir = None,
    operator_listen: OperatorListen = None,
    agent_listen: AgentListen = None,
    agent_address: AgentAddress = None,
    enrol_address: EnrolAddress = None,
    name: Names = None,
    database: DatabaseUrl = None,
    database_password_file: PasswordFile = None,
    log_level: LogLevel = None,
    config_file: ConfigFile = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Logs go to standard error."""
    given = {
        "state_dir": state_dir,
        "operator_listen": operator_listen,
        "agent_listen": agent_listen,
        "agent_address": agent_address,
        "enrol_address": enrol_address,
        "server_names": name or None,
        "log_level": log_level,
        "database": database,
        "database_password_file": database_password_file,
    }
    with answering(False):
        compose.controller_config(config_file, **given)
        controller_process.become_controller(config_file, compose.absolute(given))
