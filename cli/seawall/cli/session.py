"""What every command shares: its options, the connection, and how it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from seawall.cli.connection import Controller, connect
from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="SEAWALL_CONFIG",
        help="operator.toml: address, CA and token of the controller.",
        show_default="~/.config/seawall/operator.toml, then /etc/seawall/operator.toml",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@contextmanager
def answering(as_json: bool) -> Iterator[Output]:
    """An output; a CommandError inside becomes its message and exit code, Ctrl-C becomes 130."""
    output = Output(as_json=as_json)
    try:
        yield output
    except CommandError as error:
        output.error(error)
        raise typer.Exit(error.code) from error
    except KeyboardInterrupt as error:
        output.note("Interrupted. What was started goes on; see `seawall run list`.")
        raise typer.Exit(Exit.INTERRUPTED) from error


@contextmanager
def session(config: Path | None, as_json: bool) -> Iterator[tuple[Controller, Output]]:
    """A controller to ask and an output to answer on."""
    with answering(as_json) as output, connect(config) as controller:
        yield controller, output
