"""Where a command's answer goes: text for people on a terminal, or one JSON document for scripts, both from the same value."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.message import Message
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from seawall.cli.exits import CommandError
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
        """A plain table; columns that begin with ">" are right-aligned. Prints `empty` when there is no row."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(
                column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
            )
        for row in rows:
            table.add_row(*(_styled(cell) for cell in row))
        if table.row_count:
            # Piped into a file there is no width to fit: never fold an id there.
            width = None if self.out.is_terminal else 400
            self.out.print(table, width=width, soft_wrap=False)
        else:
            self.note(empty)

    def error(self, error: CommandError) -> None:
        """The one message that a failed command ends with."""
        if self.as_json:
            self.json({"error": {"reason": error.reason, "message": str(error), "exit_code": int(error.code)}})
        else:
            self.err.print(f"[red]seawall:[/red] {escape(str(error))}")


def _styled(cell: str) -> str:
    style = STATE_STYLE.get(cell.replace(" ", "_"))
    return f"[{style}]{escape(cell)}[/{style}]" if style else escape(cell)


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return plain(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
