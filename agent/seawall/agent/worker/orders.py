"""A worker's ear: orders from stdin in a thread of its own. When stdin ends, the supervisor is gone, and the worker ends too."""

import os
import signal
import threading

import structlog

from seawall.agent.limits.bucket import RateBucket
from seawall.agent.worker.lines import LineReader
from seawall.agent.worker.pipe import NewRate, NewSession, StopReason, parse_order
from seawall.agent.worker.session import CurrentSession
from seawall.agent.worker.stop import StopFlag

ORPHAN_SECONDS = 15.0
"""How long an orphan may take to end its job and clean up, before it ends itself the hard way: a sweep does the rest."""
ORPHAN_EXIT_CODE = 70

_log = structlog.get_logger("seawall.agent.worker")


def listen(lines: LineReader, stop: StopFlag, session: CurrentSession, bucket: RateBucket) -> None:
    """Start listening; returns at once. SIGTERM, sent when the whole agent stops, means the same as that order."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.request(StopReason.AGENT))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C reaches the supervisor, which decides
    threading.Thread(target=_listen, args=(lines, stop, session, bucket), name="orders", daemon=True).start()


def _listen(lines: LineReader, stop: StopFlag, session: CurrentSession, bucket: RateBucket) -> None:
    for line in lines:
        try:
            order = parse_order(line)
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("order_not_understood", error=str(error))
            continue
        if isinstance(order, NewSession):
            session.replace(order.session_id)
        elif isinstance(order, NewRate):
            bucket.set_rate(order.bytes_per_second)
        else:
            _log.info("told_to_stop", reason=order.reason.value)
            stop.request(order.reason)
    stop.request(StopReason.AGENT)
    threading.Event().wait(ORPHAN_SECONDS)
    os._exit(ORPHAN_EXIT_CODE)
