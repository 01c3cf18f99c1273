"""Where a command's answer goes: text for people on a terminal, or one JSON document for scripts, both from the same value."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.message import Message
from rich.console import Console
from rich.text import Text

from seawall.cli.exits import CommandError
from seawall.cli.table import GAP, lay_out
from seawall.cli.view import plain

STATE_STYLE = {
    "succeeded": "green",
    "succeeded_with_warnings": "yellow",
    "failed": "red",
    "canceled": "dim",
    "active": "cyan",
    "ready": "blue",
    "available": "green",
    "keep": "green",
    "delete": "red",
    "running": "green",
    "online": "green",
    "offline": "red",
}


class Output:
    """Answers on standard output; progress, notes and errors on standard error, so that pipes stay clean."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._answered = False
        self.out = Console(soft_wrap=True, highlight=False)
        self.err = Console(stderr=True, soft_wrap=True, highlight=False)

    def json(self, value: Any) -> None:
        """One document, once. Messages are made plain."""
        self._answered = True
        sys.stdout.write(json.dumps(_plain(value), indent=2, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def line(self, text: str = "", style: str | None = None) -> None:
        """A line of the answer; brackets and `:words:` in it are text, neither markup nor emoji."""
        self.out.print(Text(text, style=style or ""))

    def note(self, text: str) -> None:
        """A remark beside the answer."""
        if not self.as_json:
            self.err.print(Text(text, style="dim"))

    def event(self, text: str) -> None:
        """Something that happened while a command goes on; told to scripts too. Raises OSError when nobody can be told."""
        self.err.print(Text(text, style="dim"))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
        """A table, laid out as `lay_out` says. Prints `empty` when there is no row."""
        lines = lay_out(columns, list(rows), self.out.width if self.out.is_terminal else None)
        headed = any(column.lstrip("#>") for column in columns)
        if len(lines) == headed:
            return self.note(empty)
        for number, cells in enumerate(lines):
            styles = [("bold" if headed and number == 0 else STATE_STYLE.get(_state(cell), "")) for cell in cells]
            text = Text(" " * GAP).join(Text(cell, style=style) for cell, style in zip(cells, styles, strict=True))
            self.out.print(text)

    def error(self, error: CommandError) -> None:
        """The one message that a failed command ends with. Standard output takes one document: after the answer it goes beside it."""
        if self.as_json and not self._answered:
            self.json({"error": {"reason": error.reason, "message": str(error), "exit_code": int(error.code)}})
        else:
            self.err.print(Text.assemble(("seawall:", "red"), f" {error}"))


def _state(cell: str) -> str:
    return cell.strip().replace(" ", "_")


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return plain(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
