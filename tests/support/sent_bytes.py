"""What reached the store through the fault proxy, when, and for which repository: followed while backups run, then asked about."""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deploy.lab.fault_proxy.control import FaultProxy
from deploy.lab.waiting import wait_for

LOOK_SECONDS = 0.25
_OBJECT = re.compile(r"^/[^/]+/(?P<repository>[^/]+)/v1/(?P<kind>[a-z])/")


@dataclass(frozen=True)
class Sent:
    """One PUT that is over. `at`: monotonic seconds, late by LOOK_SECONDS at most. `kind`: of its object: "p" a pack, "m" the commit."""

    at: float
    repository: str
    kind: str
    n_bytes: int


def follow(proxy: FaultProxy, repositories: Iterable[str], timeout_seconds: float) -> list[Sent]:
    """All PUTs of these, from now until each has a committed point."""
    sent: list[Sent] = []
    waiting = set(repositories)
    behind = max((entry.number for entry in proxy.log()), default=0)

    def committed() -> bool:
        nonlocal behind
        for entry in proxy.log(behind):
            behind = entry.number
            found = _OBJECT.match(entry.path)
            if found is not None and entry.method == "PUT" and entry.status == 200:
                sent.append(Sent(time.monotonic(), found["repository"], found["kind"], entry.sent_bytes))
        return waiting <= {each.repository for each in sent if each.kind == "m"}

    wait_for("a committed point in each repository", committed, timeout_seconds, str, every_seconds=LOOK_SECONDS)
    return sent


def packs_of(sent: Iterable[Sent], repository: str) -> list[Sent]:
    return [each for each in sent if each.kind == "p" and each.repository == repository]


def committed_at(sent: Iterable[Sent], repository: str) -> float:
    return next(each.at for each in sent if each.kind == "m" and each.repository == repository)


def between(sent: Iterable[Sent], begin: float, end: float) -> int:
    """Bytes after `begin`, up to `end`."""
    return sum(each.n_bytes for each in sent if begin < each.at <= end)


def most_within(sent: Sequence[Sent], seconds: float) -> int:
    """The most bytes in any so many seconds."""
    return max(between(sent, each.at - LOOK_SECONDS, each.at - LOOK_SECONDS + seconds) for each in sent)


def rate_of(packs: Sequence[Sent]) -> float:
    """Bytes per second from the first to the last: what each waited for are the ones before it."""
    return sum(each.n_bytes for each in packs[:-1]) / (packs[-1].at - packs[0].at)
