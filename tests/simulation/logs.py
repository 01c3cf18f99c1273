"""The product's log: an error that the product did not foresee, and only logged, is a finding."""

import logging
import traceback
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

_hear: list[Callable[[str], None]] = []
CALLS_SHOWN = 4


def listen(tell: Callable[[str], None]) -> Callable[[], None]:
    """`tell` hears of each unforeseen error until the returned function is called."""
    _hear.append(tell)
    return lambda: _hear.remove(tell)


def set_up() -> None:
    """Errors alone are looked at; nothing is written."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        processors=[_collect],
        cache_logger_on_first_use=False,
    )


def _collect(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
    if event.get("exc_info") and _hear:
        _hear[-1](f"{event.get('event')}: {_where()}")
    raise structlog.DropEvent


def _where() -> str:
    """The error being handled, and the last calls that led to it."""
    lines = traceback.format_exc().strip().splitlines()
    return " | ".join(line.strip() for line in lines[-2 * CALLS_SHOWN - 1 :])
