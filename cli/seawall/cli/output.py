"""Where a command's answer goes: text for people on a terminal, or one JSON document for scripts, both from the same value."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.message import Message
from rich.console import Console
from rich.markup import escape
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
    "running": "green",
    "online": "green",
    "offline": "red",
}


class Output:
    """Answers on standard output; progress, notes and errors on standard error, so that pipes stay clean."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = Console(soft_wrap=True, highlight=False)
        self.err = Console(stderr=True, soft_wrap=True, highlight=False)

    def json(self, value: Any) -> None:
        """One document. Messages are made plain."""
        sys.stdout.write(json.dumps(_plain(value), indent=2, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def line(self, text: str = "", style: str | None = None) -> None:
        """A line of the answer; brackets in it are text, not markup."""
        self.out.print(escape(text), style=style)

    def note(self, text: str) -> None:
        """A remark beside the answer."""
        if not self.as_json:
            self.err.print(escape(text), style="dim")

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
        """The one message that a failed command ends with."""
        if self.as_json:
            self.json({"error": {"reason": error.reason, "message": str(error), "exit_code": int(error.code)}})
        else:
            self.err.print(f"[red]seawall:[/red] {escape(str(error))}")


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
