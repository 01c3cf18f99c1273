"""Tables as lines of padded cells, the same on terminals and in pipes. Cells are never folded: what is shown of an id can be copied."""

from collections.abc import Sequence

from rich.cells import cell_len

GAP = 2
SHORT_ID = 18
"""What is shown of an id where the terminal is narrow: of a UUIDv7 the time and 12 random bits. The controller takes any unique prefix."""


def lay_out(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[list[str]]:
    """Header and rows, each cell padded to its column; the last one of a row is not padded, so no line ends in blanks.

    A column that begins with ">" is right-aligned, one that begins with "#" holds ids, which are shortened if all would be wider than
    `width` (None: no limit). Columns without any name have no header.
    """
    header = [column.lstrip("#>") for column in columns]
    lines = [*([header] if any(header) else []), *(list(row) for row in rows)]
    widths = _widths(lines)
    if width is not None and sum(widths) + GAP * (len(widths) - 1) > width:
        lines = [_shortened(columns, line) for line in lines]
        widths = _widths(lines)
    return [_padded(columns, line, widths) for line in lines]


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(cell_len(cell) for cell in column) for column in zip(*lines, strict=True)]


def _shortened(columns: Sequence[str], line: Sequence[str]) -> list[str]:
    return [cell[:SHORT_ID] if column.startswith("#") else cell for column, cell in zip(columns, line, strict=True)]


def _padded(columns: Sequence[str], line: Sequence[str], widths: Sequence[int]) -> list[str]:
    last = max((number for number, cell in enumerate(line) if cell), default=-1)
    cells = []
    for number, (column, cell) in enumerate(zip(columns, line, strict=True)):
        blank = " " * (widths[number] - cell_len(cell))
        if column.startswith(">"):
            cells.append(blank + cell)
        else:
            cells.append(cell if number >= last else cell + blank)
    return cells[: last + 1]
