"""Whole numbers on a command line: one reading of them for every option. None is too large for what carries it to the controller."""

import typer
from typer.models import OptionInfo

MOST = (1 << 63) - 1
"""What the messages and both databases hold. Where less makes sense, whoever knows says so: the option, or the controller."""

_MOST_DIGITS = len(str(MOST))


def whole_number(text: str, least: int = 0, most: int = MOST) -> int:
    """ "12" -> 12: ASCII digits, no sign but "-", no underscore, no point. Raises ValueError with the words for whoever typed it."""
    between = f"a whole number from {least} on" if most == MOST else f"a whole number from {least} to {most}"
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{_shown(text)} is not {between}")
    # Python makes no number of thousands of digits.
    number = int(text) if len(digits.lstrip("0")) <= _MOST_DIGITS else (-1 if text.startswith("-") else MOST + 1)
    if number > most:
        raise ValueError(f"{_shown(text)} is more than {most}, the largest that can be said here")
    if number < least:
        raise ValueError(f"{_shown(text)} is not {between}")
    return number


def number_option(
    *flags: str,
    help: str,
    least: int = 0,
    most: int = MOST,
    metavar: str = "N",
    show_default: bool | str = True,
) -> OptionInfo:
    """An option that takes a `whole_number`; what is none is a usage error. --help says which ones it takes: "[1..100]", "[0..]"."""

    def parse(value: str | int) -> int:
        if isinstance(value, int):
            return value  # a default
        try:
            return whole_number(value, least, most)
        except ValueError as error:
            raise typer.BadParameter(f"{error}.") from error  # typer adds which option

    # Not as click writes it, "[x>=1]": that begins like a mark of rich's, and would be taken away.
    bounds = f"[{least}..{'' if most == MOST else most}]"
    found = typer.Option(*flags, parser=parse, metavar=metavar, help=f"{help} {bounds}", show_default=show_default)
    if not isinstance(found, OptionInfo):
        raise TypeError(found)  # typer types it as Any
    return found


def _shown(text: str, most: int = 40) -> str:
    return repr(text if len(text) <= most else f"{text[:most]}…")
