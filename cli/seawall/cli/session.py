"""What every command shares: its options, the connection, and how it ends."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from seawall.cli.connection import Controller, connect
from seawall.cli.exits import CommandError, Exit, system_error
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
    """An output; a CommandError inside becomes its message and exit code, Ctrl-C becomes 130, what nobody foresaw becomes 1."""
    output = Output(as_json=as_json)
    try:
        yield output
    except CommandError as error:
        output.error(error)
        raise typer.Exit(error.code) from error
    except KeyboardInterrupt as error:
        output.note("Interrupted. What was started goes on; see `seawall run list`.")
        raise typer.Exit(Exit.INTERRUPTED) from error
    except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):
        raise  # the parser's own ways to end
    except OSError as error:
        told = system_error(error)
        output.error(told)
        raise typer.Exit(told.code) from error
    except Exception as error:
        # The top of every command: the traceback is for us, the last line, or the document, for whoever asked.
        traceback.print_exc()
        message = f"Something unexpected happened ({type(error).__name__}: {error}). Please report it with the lines on standard error."
        output.error(CommandError(Exit.FAILED, "UNEXPECTED", message))
        raise typer.Exit(Exit.FAILED) from error


@contextmanager
def session(config: Path | None, as_json: bool) -> Iterator[tuple[Controller, Output]]:
    """A controller to ask and an output to answer on."""
    with answering(as_json) as output, connect(config) as controller:
        yield controller, output
