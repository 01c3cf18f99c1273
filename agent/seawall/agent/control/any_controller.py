"""Calls that any controller of a list may answer."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from seawall.agent.control.errors import ControllerSilent

T = TypeVar("T")


def first_that_answers(addresses: Sequence[str], ask: Callable[[str], T]) -> T:
    """`ask` gets one address after the other, until it is not silent. Raises ControllerSilent of the last one when all are."""
    *others, last = addresses
    for address in others:
        with suppress(ControllerSilent):
            return ask(address)
    return ask(last)
