"""Large orders, of which the answer may come late: the same request is sent again."""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from seawall.cli.connection import Controller
from seawall.cli.exits import CommandError
from seawall.cli.output import Output

TRIES = 3


def sent_again(
    controller: Controller, output: Output, method: Callable[..., Any], request: Message, harmless: str, seconds: float
) -> Any:
    """The answer, where one comes in three times so many seconds. By the request's id the controller knows it and goes on where it stopped;
    `harmless` says so. Raises CommandError.
    """
    for again in range(TRIES - 1, -1, -1):
        try:
            return controller.call(method, request, timeout_seconds=seconds)
        except CommandError as error:
            if error.reason != "DEADLINE_EXCEEDED" or not again:
                raise
            output.note(f"The controller did not answer in time. Asking again; {harmless}.")
    raise AssertionError("the last try returns or raises")
