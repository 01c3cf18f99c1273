"""Where a file of policies that is too large goes wrong: line and field, found without parsing it. Pure; the command line asks it too."""

import re
from collections.abc import Iterator, Sequence

LARGEST_BYTES = 256 * 1024
LONGEST_LINE = 64 * 1024
"""Characters. Longer than a list of all that a policy may name in one line."""
LOOKED_BACK = 1000
"""Lines."""
_KEY = re.compile(r"""(?P<before>[ ]*(?:-[ ]+)*)["']?(?P<key>[A-Za-z_][A-Za-z0-9_]{0,39})["']?[ ]*:""")
_LEAD = re.compile(r"[ ]*(?P<item>-?)")
_PIECE = re.compile(r"[^,{}\[\]]+")


def too_large(text: str, source: str) -> str:
    """What is told of such a file: "f.yaml, line 2, policy: …". `text` may be cut off at the end."""
    lines = text.split("\n")
    number = next((number for number, line in enumerate(lines) if len(line) > LONGEST_LINE), None)
    whole = f"a file of policies may have {LARGEST_BYTES // 1024} KiB altogether"
    if number is None:
        return f"{source}, line 1: the file is too large; {whole}"
    path = ".".join(_keys(lines, number))
    field = f", {path}" if path else ""
    return f"{source}, line {number + 1}{field}: more than {LONGEST_LINE // 1024} KiB in one line are too much; {whole}"


def _keys(lines: Sequence[str], number: int) -> Sequence[str]:
    """Those that lead to the longest part of a line, as far as indentation and the line itself say."""
    line = lines[number]
    first = _KEY.match(line)
    piece = max(_PIECE.finditer(line), key=lambda found: found.end() - found.start(), default=None)
    last = _KEY.match(piece[0]) if piece is not None and piece.start() else None
    lead = _LEAD.match(line)
    column = len(first["before"]) if first else lead.end() if lead else 0
    above = [*_above(lines[max(0, number - LOOKED_BACK) : number], column)][::-1]
    return [*above, *(found["key"] for found in (first, last) if found)]


def _above(lines: Sequence[str], column: int) -> Iterator[str]:
    """Keys of the tables that what stands at the column is in, the innermost first."""
    for line in reversed(lines):
        if not column or line.startswith("---"):
            return
        found = _KEY.match(line)
        if found and len(found["before"]) < column:
            column = len(found["before"])
            yield found["key"]
