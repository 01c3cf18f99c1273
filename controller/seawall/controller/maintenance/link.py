"""The worker's end of the pipe: one JSON object a line. It asks, the controller answers; without the controller it ends at once.

{"call": name, "body": {...}} -> {"answer": ...} or {"refused": {"reason", "message"}} or {"busy": {"message"}}
At the end {"result": {...}} or {"failure": {"reason", "message", "temporary"}}.
"""

import json
import os
import queue
import threading
from collections.abc import Mapping
from typing import Any, TextIO

from seawall.repository.clock import Clock
from seawall.repository.collecting.port import LedgerBusy, LedgerRefused

ANSWER_SECONDS = 120.0
CONTROLLER_GONE = 3
"""Exit code."""

_PAUSES_SECONDS = (0.5, 2.0, 5.0, 10.0)


class Link:
    """One question at a time, each with a deadline. Thread-safe: the others wait."""

    def __init__(self, source: TextIO, sink: TextIO, clock: Clock) -> None:
        self._source = source
        self._sink = sink
        self._clock = clock
        self._lines: queue.Queue[str] = queue.Queue()
        self._turn = threading.Lock()
        threading.Thread(target=self._read, name="controller", daemon=True).start()

    def first(self) -> dict[str, Any]:
        """What the controller says before it is asked."""
        return self._next()

    def ask(self, call: str, **body: Any) -> Any:
        """Raises LedgerRefused; LedgerBusy after a few tries, or when no answer came in time."""
        for pause_seconds in _PAUSES_SECONDS:
            try:
                return self._ask(call, body)
            except LedgerBusy:
                self._clock.sleep_seconds(pause_seconds)
        return self._ask(call, body)

    def end(self, **last: Mapping[str, Any]) -> None:
        self._send(last)

    def _ask(self, call: str, body: dict[str, Any]) -> Any:
        with self._turn:
            self._send({"call": call, "body": body})
            answer = self._next()
        if "refused" in answer:
            raise LedgerRefused(answer["refused"]["reason"], answer["refused"]["message"])
        if "busy" in answer:
            raise LedgerBusy(answer["busy"]["message"])
        return answer["answer"]

    def _send(self, message: Mapping[str, Any]) -> None:
        self._sink.write(json.dumps(message) + "\n")
        self._sink.flush()

    def _next(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            # A late answer would be taken for the next question's: this pipe is of no more use.
            os._exit(CONTROLLER_GONE)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _read(self) -> None:
        for line in self._source:
            self._lines.put(line)
        # The controller went away, however it ended. Whatever is under way may stop anywhere: every step can be repeated.
        os._exit(CONTROLLER_GONE)
