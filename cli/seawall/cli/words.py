"""What no word of a command line may be, looked at before it is parsed.

A variable of a script that is not set must not widen a question, nor choose a place.
"""

from collections.abc import Sequence

from seawall.cli.exits import CommandError, Exit

TAKES_BACK = frozenset({"--site"})
"""Options of which an empty value says something: that what was said before holds no longer."""


def unusable(words: Sequence[str]) -> CommandError | None:
    """The first word that cannot be meant, as an error; None when all are usable.

    An empty `--vm ""` would list every VM's points, an empty `--state-dir ""` would mean the working directory.
    """
    for number, word in enumerate(words, start=1):
        option, equals, value = word.partition("=")
        named = option if equals else words[number - 2] if number > 1 else ""
        if not value and named in TAKES_BACK and (equals or not word):
            continue
        if not word or (option.startswith("--") and equals and not value):
            where = f"The value of {option}" if option else f"Argument {number}{_after(words, number)}"
            return CommandError(
                Exit.USAGE, "EMPTY_ARGUMENT", f"{where} is empty. Give it a value or leave it out: is a variable unset?"
            )
        try:
            word.encode()
        except UnicodeEncodeError:
            return CommandError(
                Exit.USAGE, "NOT_UTF8", f"Argument {number}{_after(words, number)} is not UTF-8: type it anew."
            )
    return None


def _after(words: Sequence[str], number: int) -> str:
    before = words[number - 2] if number > 1 else ""
    return f", after {before}," if before.startswith("-") and before.isascii() else ""
