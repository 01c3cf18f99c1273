"""The proxy's rules as they stand: which takes a request, how many each has taken and holds. Belongs to the proxy's event loop."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy.lab.fault_proxy.rules import Logged, Rule

_LOG_LENGTH = 20_000


@dataclass(eq=False)
class LiveRule:
    """`taken` requests so far, of which `held` wait now and `over` are done with."""

    number: int
    rule: Rule
    matched: int = 0
    taken: int = 0
    held: int = 0
    over: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Released or removed: nothing waits for it any longer."""

    def takes(self, method: str, path: str) -> bool:
        if self.ended.is_set() or not self.rule.matches(method, path):
            return False
        if self.rule.times is not None and self.taken >= self.rule.times:
            return False
        self.matched += 1
        if self.matched <= self.rule.skip:
            return False
        self.taken += 1
        return True


class RuleBook:
    """`changed` wakes whoever waits for a count."""

    def __init__(self) -> None:
        self._rules: dict[int, LiveRule] = {}
        self._numbers = 0
        self.log: deque[Logged] = deque(maxlen=_LOG_LENGTH)
        self.requests = 0
        self.changed = asyncio.Condition()

    def add(self, rule: Rule) -> int:
        self._numbers += 1
        self._rules[self._numbers] = LiveRule(self._numbers, rule)
        return self._numbers

    def end(self, number: int) -> None:
        """Its waiting requests go on; it takes no more. Its counts stay."""
        self._rules[number].ended.set()

    def end_all(self) -> None:
        for live in self._rules.values():
            live.ended.set()

    def counts(self, number: int) -> LiveRule:
        """Raises KeyError."""
        return self._rules[number]

    def choose(self, method: str, path: str) -> LiveRule | None:
        return next((live for live in self._rules.values() if live.takes(method, path)), None)

    async def note(self, change: Callable[[], None]) -> None:
        async with self.changed:
            change()
            self.changed.notify_all()
