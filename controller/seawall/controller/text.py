"""Text that hosts hand in goes to people's terminals, into rows and lists: printable characters, and no novels."""

NAME_LENGTH = 253
SENTENCE_LENGTH = 1000


def printable(text: str, longest: int = NAME_LENGTH) -> str:
    """Control characters, newlines and escapes become spaces."""
    cut = text[: 2 * longest]
    if not cut.isprintable():
        cut = "".join(character if character.isprintable() else " " for character in cut)
    return cut.strip()[:longest]


def sentence(text: str) -> str:
    return printable(text, SENTENCE_LENGTH)
