"""Text that hosts hand in goes to people's terminals, into rows and lists: printable characters, and no novels."""

NAME_LENGTH = 253
SENTENCE_LENGTH = 1000


def printable(text: str, longest: int = NAME_LENGTH) -> str:
    """Control characters, newlines and escapes become spaces."""
    shown = "".join(character if character.isprintable() else " " for character in text[: 4 * longest])
    return shown.strip()[:longest]


def sentence(text: str) -> str:
    return printable(text, SENTENCE_LENGTH)
