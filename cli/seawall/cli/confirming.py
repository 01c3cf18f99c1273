"""The question before what cannot be taken back."""

import sys
from typing import Annotated

import typer

from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed where no terminal is.")]


def confirm(output: Output, question: str, consequence: str, refused: str = "Nothing was deleted.") -> None:
    """Returns when somebody at a terminal says yes. `consequence`: the sentence for those who cannot be asked.
    `refused`: the one for those who say no.

    Raises CommandError/NOT_CONFIRMED.
    """
    if output.as_json or not sys.stdin.isatty():
        raise CommandError(Exit.USAGE, "NOT_CONFIRMED", f"{consequence} Add --yes if that is meant.")
    if not typer.confirm(question, err=True):
        raise CommandError(Exit.FAILED, "NOT_CONFIRMED", refused)
