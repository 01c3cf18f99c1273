"""Tables as lines of padded cells, the same on terminals and in pipes. Cells are never folded: what is shown of an id can be copied."""

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

GAP = 2
SHORT_ID = 18
"""What is shown of an id where the terminal is narrow: of a UUIDv7 the time and 12 random bits. The controller takes any unique prefix."""
LONGEST_TEXT = 40
"""What is shown of a name where the terminal is narrow, the last column apart: what follows a cut one stays on its line."""


def lay_out(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[list[str]]:
    """Header and rows, each cell padded to its column; the last one of a row is not padded, so no line ends in blanks.

    A column that begins with ">" is right-aligned, one that begins with "#" holds ids, which are shortened if all would be wider than
    `width` (None: no limit); if they are too wide even then, long texts before the last column end in "…". Columns without any name
    have no header.
    """
    header = [column.lstrip("#>") for column in columns]
    lines = [*([header] if any(header) else []), *(list(row) for row in rows)]
    widths = _widths(lines)
    for narrowed in (_shortened, _cut):
        if width is not None and sum(widths) + GAP * (len(widths) - 1) > width:
            lines = [narrowed(columns, line) for line in lines]
            widths = _widths(lines)
    return [_padded(columns, line, widths) for line in lines]


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(cell_len(cell) for cell in column) for column in zip(*lines, strict=True)]


def _shortened(columns: Sequence[str], line: Sequence[str]) -> list[str]:
    return [cell[:SHORT_ID] if column.startswith("#") else cell for column, cell in zip(columns, line, strict=True)]


def _cut(columns: Sequence[str], line: Sequence[str]) -> list[str]:
    """Right-aligned columns hold numbers, and ids are shortened already."""
    texts = [not column.startswith((">", "#")) for column in columns[:-1]] + [False]
    return [_ended(cell) if is_text else cell for is_text, cell in zip(texts, line, strict=True)]


def _ended(cell: str) -> str:
    return cell if cell_len(cell) <= LONGEST_TEXT else set_cell_size(cell, LONGEST_TEXT - 1).rstrip() + "…"


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
