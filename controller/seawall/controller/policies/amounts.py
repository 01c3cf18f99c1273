"""Fields of a policy file that are amounts: times, sizes, lists of texts, yes or no. Errors name the field, as everywhere in the file."""

import re

from seawall.controller.policies.yaml_nodes import Field

MOST_TERMS = 5000
LONGEST_SECONDS = 10 * 366 * 86_400
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:ms|[smhdwy]))+")
_PART = re.compile(r"([0-9]+)(ms|[smhdwy])")
_MILLISECONDS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 365 * 86_400_000,
}
_SIZE = re.compile(r"([0-9]{1,15}) ?(|[kKMGT]i?B?|B)(?:/s)?")


def bytes_of(field: Field) -> int:
    match = _SIZE.fullmatch(field.text())
    if not match or not int(match[1]):
        raise field.wrong(f"{field.shown()} is no size such as 50MiB, and zero is none")
    unit = match[2].upper().rstrip("B")
    base = 1024 if unit.endswith("I") else 1000
    return int(match[1]) * int(base ** (" KMGT".index(unit[0]) if unit else 0))


def texts_of(field: Field | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.text() for each in field.items(MOST_TERMS))) if field is not None else ()


def flag_of(field: Field | None) -> bool:
    return field is not None and field.flag()


def seconds_or_none(field: Field | None, most: int, *, zero: bool = False) -> int | None:
    return None if field is None else seconds_of(field, most, zero=zero)


def seconds_of(field: Field, most: int, *, zero: bool = False) -> int:
    milliseconds = milliseconds_of(field, zero=zero)
    if milliseconds % 1000 or milliseconds // 1000 > most:
        longest = f"{most // 86_400} days" if most >= 2 * 86_400 else f"{most // 3600} h"
        raise field.wrong(f"{field.shown()} is not in whole seconds, or longer than {longest}")
    return milliseconds // 1000


def milliseconds_of(field: Field, *, zero: bool = False) -> int:
    text = field.text()
    if text == "0" and zero:
        return 0
    if not _DURATION.fullmatch(text):
        raise field.wrong(
            f"{field.shown()} is no time such as 90s, 15m, 12h, 30d, 6w or 1y; months have no fixed length"
        )
    milliseconds = sum(int(number) * _MILLISECONDS[unit] for number, unit in _PART.findall(text))
    if not milliseconds and not zero:
        raise field.wrong("zero makes no sense here")
    return milliseconds
