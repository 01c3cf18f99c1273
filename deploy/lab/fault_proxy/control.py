"""Tell a fault proxy what to spoil. Used by system tests, by contract tests of stores, and by hand.

    proxy = laboratory.start_fault_proxy()
    with proxy.rule(Hold(), method="PUT", path=r"/v1/a/") as hold:    # S3 paths: /BUCKET/PREFIX/v1/…
        hold.await_held(1, 60)
        …                                                             # the run is pinned; do what you like
    # the rule is gone, the request went on

Rules are tried in the order in which they were made. What a rule does, and how its requests are chosen, stands in `rules.py`.
"""

import json
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from deploy.lab.fault_proxy.rules import Action, Logged, Rule, rule_to_json
from deploy.lab.waiting import LabFailed

CALL_SECONDS = 20.0


class FaultProxy:
    """The control side of a running proxy. `endpoint` is where clients of S3 go. Thread-safe: each call is a connection of its own."""

    def __init__(self, control: Path, endpoint: str) -> None:
        self._control = control
        self.endpoint = endpoint

    def rule(
        self, action: Action, *, method: str = "", path: str = "", times: int | None = None, skip: int = 0
    ) -> "ActiveRule":
        """From now on. `times` None: until it is removed."""
        made = self._tell({"do": "add", "rule": rule_to_json(Rule(action, method, path, times, skip))})
        return ActiveRule(self, made["rule"])

    def clear(self) -> None:
        """No rules; what they held goes on."""
        self._tell({"do": "clear"})

    def log(self, after: int = 0) -> list[Logged]:
        """Requests that are over, oldest first, behind the one of that number; the last 20,000 are kept."""
        return [Logged(**entry) for entry in self._tell({"do": "log", "after": after})["log"]]

    def _tell(self, order: dict[str, Any], seconds: float = 0.0) -> dict[str, Any]:
        folder = os.open(self._control.parent, os.O_PATH)
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(CALL_SECONDS + seconds)
                line.connect(f"/proc/self/fd/{folder}/{self._control.name}")  # a socket's path must be short
                line.sendall(json.dumps(order).encode() + b"\n")
                with line.makefile("rb") as answers:
                    answer: dict[str, Any] = json.loads(answers.readline())
        except (OSError, ValueError) as error:
            raise LabFailed(f"the fault proxy at {self._control} does not listen: {error}") from error
        finally:
            os.close(folder)
        if "error" in answer:
            raise LabFailed(f"the fault proxy refused {order}: {answer['error']}")
        return answer


class ActiveRule:
    """A rule in the proxy. As a context it is removed at the end."""

    def __init__(self, proxy: FaultProxy, number: int) -> None:
        self._proxy = proxy
        self.number = number

    def __enter__(self) -> "ActiveRule":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """It takes no more requests; those that it held go on, half-open ones end. Again: nothing."""
        self._proxy._tell({"do": "end", "rule": self.number})

    release = remove

    def taken(self) -> int:
        """Requests that it took so far."""
        return self._count("taken")

    def held(self) -> int:
        """Requests that a Hold keeps now."""
        return self._count("held")

    def await_taken(self, least: int, timeout_seconds: float) -> None:
        """Raises LabFailed."""
        self._await("taken", least, timeout_seconds)

    def await_held(self, least: int, timeout_seconds: float) -> None:
        """Raises LabFailed."""
        self._await("held", least, timeout_seconds)

    def await_over(self, least: int, timeout_seconds: float) -> None:
        """Until that many of its requests are done with: answered, cut or lost. Raises LabFailed."""
        self._await("over", least, timeout_seconds)

    def requests(self) -> list[Logged]:
        """Those of its requests that are over."""
        return [entry for entry in self._proxy.log() if entry.rule == self.number]

    def _count(self, name: str) -> int:
        return int(self._proxy._tell({"do": "counts", "rule": self.number})[name])

    def _await(self, name: str, least: int, seconds: float) -> None:
        order = {"do": "await", "rule": self.number, "count": name, "least": least, "seconds": seconds}
        if not self._proxy._tell(order, seconds)["reached"]:
            raise LabFailed(f"waited {seconds:.0f} s in vain for {least} requests {name} by rule {self.number}")
