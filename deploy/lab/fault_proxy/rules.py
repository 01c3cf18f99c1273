"""What can be done to a request, and to which. Shared by the proxy and by those who tell it; the wire form is JSON."""

import re
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Pass:
    """Nothing: the request is passed on and answered. A rule with it counts, or exempts what later rules would spoil."""


@dataclass(frozen=True)
class Answer:
    """The proxy answers by itself; the server never hears of it. The request's body is read and thrown away.

    `code` and `message` go into an S3 error document. `retry_after_seconds` becomes the header, when it is not 0.
    """

    status: int
    code: str = "InternalError"
    message: str = "made by the fault proxy"
    retry_after_seconds: int = 0


SLOW_DOWN = Answer(503, "SlowDown", "Please reduce your request rate.")
ACCESS_DENIED = Answer(403, "AccessDenied", "Access Denied.")
QUOTA_EXCEEDED = Answer(507, "QuotaExceeded", "The quota of this bucket is used up.")
NO_SUCH_BUCKET = Answer(404, "NoSuchBucket", "The specified bucket does not exist")


@dataclass(frozen=True)
class Delay:
    """Passed on that much later."""

    seconds: float


@dataclass(frozen=True)
class Trickle:
    """Passed on, but a body runs at this rate only: the request's (`up`), the answer's, or each."""

    bytes_per_second: float
    up: bool = True
    down: bool = True


@dataclass(frozen=True)
class CutRequest:
    """Both connections end after that many bytes of the request's body. None: before the server hears anything."""

    after_bytes: int | None = None


@dataclass(frozen=True)
class CutAnswer:
    """The server does it; the answer's headers and that many bytes of its body come, then the connection ends."""

    after_bytes: int = 0


@dataclass(frozen=True)
class HalfOpen:
    """The server never hears of it, nobody answers, the connection stays until the client ends it or the rule is removed.

    With `reading` the request's body is taken in, else the client is stuck in sending what is longer than the kernel's buffers.
    """

    reading: bool = True


@dataclass(frozen=True)
class LostAnswer:
    """The server does it, the client hears nothing: the connection ends, or, with `silent`, stays as with HalfOpen."""

    silent: bool = False


@dataclass(frozen=True)
class FlipBit:
    """One bit of the answer's body is wrong: the lowest of the byte at that offset. Shorter bodies: of their last byte."""

    at_byte: int = 0


@dataclass(frozen=True)
class Hold:
    """Waits until the rule is released or removed, then passed on: with `answered`, the server does it first, and its answer waits.

    A held request is passed on even when its client has gone meanwhile, if all of it had been sent: a packet that was late on its way.
    """

    answered: bool = False


Action = Pass | Answer | Delay | Trickle | CutRequest | CutAnswer | HalfOpen | LostAnswer | FlipBit | Hold
_KINDS: dict[str, type[Action]] = {
    kind.__name__: kind
    for kind in (Pass, Answer, Delay, Trickle, CutRequest, CutAnswer, HalfOpen, LostAnswer, FlipBit, Hold)
}


@dataclass(frozen=True)
class Rule:
    """Which requests: `method` exactly ("" is any), `path` a regular expression found anywhere in the path (never the query).

    The first `skip` that match are left to later rules, the next `times` are taken (None: all from then on). Of several rules the oldest
    that still takes any has the request.
    """

    action: Action
    method: str = ""
    path: str = ""
    times: int | None = None
    skip: int = 0

    def matches(self, method: str, path: str) -> bool:
        return self.method in ("", method) and re.search(self.path, path) is not None


@dataclass(frozen=True)
class Logged:
    """One request that is over. `status`: what the client was answered, 0 for nothing. `rule`: the rule that took it, 0 for none."""

    number: int
    method: str
    path: str
    status: int
    rule: int
    sent_bytes: int
    """Of the request's body, that reached the server."""
    received_bytes: int
    """Of the answer's body, that went to the client."""
    seconds: float


def rule_to_json(rule: Rule) -> dict[str, Any]:
    return {**asdict(rule), "kind": type(rule.action).__name__}


def rule_from_json(document: dict[str, Any]) -> Rule:
    """Raises KeyError, TypeError, re.error for what is no rule."""
    fields = dict(document)
    action = _KINDS[fields.pop("kind")](**fields.pop("action"))
    rule = Rule(action, **fields)
    re.compile(rule.path)
    return rule
