"""Command lines that cannot be understood: for scripts that asked for --json, one JSON document like every other error."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import typer
from typer.core import TyperGroup

from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output
from seawall.cli.text import sentences
from seawall.cli.words import unusable


class SeawallGroup(TyperGroup):
    """The root of all commands. The parser fails before any command runs, so this is the one place that hears of it."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """As typer's, but for how usage errors are told."""
        given = with_values(sys.argv[1:] if args is None else args)
        told_as_json = standalone_mode and asks_for_json(given)
        if standalone_mode and (wrong := unusable(given)) is not None:
            Output(as_json=told_as_json).error(wrong)
            sys.exit(wrong.code)
        run = partial(super().main, given, prog_name, complete_var, windows_expand_args=windows_expand_args, **extra)
        if not told_as_json:
            return run(standalone_mode=standalone_mode)
        try:
            code = run(standalone_mode=False)
        except typer.TyperException as error:
            Output(as_json=True).error(CommandError(Exit.USAGE, "USAGE", _message(error)))
            code = Exit.USAGE
        except typer.Abort:
            code = Exit.FAILED
        sys.exit(code or Exit.OK)


OPTIONAL_VALUES = {"--read-data": "100"}
"""Options whose value may be left out, and what that means. A value follows "=": the next word is a word of its own."""


def with_values(words: Sequence[str]) -> list[str]:
    """The command line with these values said. What follows "--" is no option."""
    end = words.index("--") if "--" in words else len(words)
    said = [f"{word}={OPTIONAL_VALUES[word]}" if word in OPTIONAL_VALUES else word for word in words[:end]]
    return [*said, *words[end:]]


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether --json stands among the options; what follows "--" is no option."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options


def _message(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    advice = f"`{context.command_path} --help` shows what may be given." if context is not None else ""
    return sentences(error.format_message(), advice)
