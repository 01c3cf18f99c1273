"""A hook for tests: called after each durable step with its name, so that a process can be ended there."""

from collections.abc import Callable

OnStep = Callable[[str], None]


def no_step(_: str) -> None:
    """What production does."""
