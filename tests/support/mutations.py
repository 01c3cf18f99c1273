"""Changes that damage, chance or malice make to bytes: pure functions of a list of steps, so that Hypothesis can shrink it."""

import struct
from collections.abc import Sequence

from hypothesis import strategies as st

Step = tuple[str, int, int]
"""(operation, where, how): both numbers are taken modulo what is there."""

_EDGES = (0, 1, 2, 3, 96, 255, 256, 4095, 16_383, 16_384, 32_768, 65_535, 1 << 20, 1 << 24, 1 << 31, 1 << 63)
_INTEGERS = (*_EDGES, *(value - 1 for value in (1 << 31, 1 << 32, 1 << 63, 1 << 64)), 1 << 32)
_JSON = (
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "NaN",
    "Infinity",
    "0.5",
    "[]",
    "{}",
    '""',
    '"\\ud800"',
    '"\\u0000"',
    '"aa"',
    '"zz"',
)
_HUGE = ("[" * 3000, "9" * 30, "9" * 5000, str(2**63), str(2**63 - 1), str(2**53))
_TEXT = (
    " ",
    "\n",
    "\n\n",
    "\0",
    "../",
    "//",
    "%00",
    "%2e%2e",
    "\u2028",
    "İıß",
    ":",
    "?",
    "#",
    "[",
    "]",
    "@",
    "SWRC",
    "SEAWPACK",
)
_WORDS = (*(word.encode() for word in (*_JSON, *_HUGE, *_TEXT)), b"\xff\xfe")
_OPERATIONS = ("flip", "byte", "integer", "cut", "drop", "repeat", "swap", "word", "token", "tail")


def steps() -> st.SearchStrategy[list[Step]]:
    """A few changes, one after another."""
    number = st.integers(0, 1 << 20)
    return st.lists(st.tuples(st.sampled_from(_OPERATIONS), number, number), min_size=1, max_size=4)


def mutated(body: bytes, changes: Sequence[Step]) -> bytes:
    """`body` with all of them, in order."""
    for operation, where, how in changes:
        body = _changed(body, operation, where, how)
    return body


def _changed(body: bytes, operation: str, where: int, how: int) -> bytes:
    at = where % (len(body) + 1)
    span = 1 + how % 48
    match operation:
        case "flip" if body:
            at = where % len(body)
            return body[:at] + bytes([body[at] ^ (1 << how % 8)]) + body[at + 1 :]
        case "byte" if body:
            at = where % len(body)
            return body[:at] + bytes([how % 256]) + body[at + 1 :]
        case "integer":
            return _with_integer(body, at, how)
        case "cut":
            return body[:at]
        case "drop":
            return body[:at] + body[at + span :]
        case "repeat":
            return body[:at] + body[at : at + span] * 2 + body[at + span :]
        case "swap":
            middle, end = at + span, at + 2 * span
            return body[:at] + body[middle:end] + body[at:middle] + body[end:]
        case "word":
            return body[:at] + _WORDS[how % len(_WORDS)] + body[at:]
        case "token":
            return _with_token(body, where, how)
        case "tail":
            return body + body[at : at + span] + bytes(how % 3)
    return body


def _with_integer(body: bytes, at: int, how: int) -> bytes:
    """An integer at the edge of its width, little-endian, where such fields lie: at even places."""
    form = ("<H", "<I", "<Q")[how % 3]
    value = _INTEGERS[how // 3 % len(_INTEGERS)] % (1 << 8 * struct.calcsize(form))
    at -= at % 2
    return body[:at] + struct.pack(form, value) + body[at + struct.calcsize(form) :]


def _with_token(body: bytes, where: int, how: int) -> bytes:
    """The value behind one of the colons or commas replaced: structured text stays structured."""
    marks = [at for at, byte in enumerate(body) if byte in b":,=&\n"]
    if not marks:
        return body
    start = marks[where % len(marks)] + 1
    ends = [at for at in range(start, len(body)) if body[at] in b",}]\n&"]
    return body[:start] + _WORDS[how % len(_WORDS)] + body[ends[0] if ends else len(body) :]
