"""Structured logs of supervisor and workers: events with fields, one JSON object a line, on stderr. Set up once per process."""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog


class _ToStderr:
    """What a log is written to: one that cannot be written (a full disk, a reader that is gone) must not end any work."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def set_up_logs() -> None:
    """Call first in a process. Secrets never reach it: types that hold them do not print them."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _ToStderr())),
        cache_logger_on_first_use=True,
    )
