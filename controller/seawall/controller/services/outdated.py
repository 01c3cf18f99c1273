"""Hosts whose Hello was refused because their agent and this controller have no protocol in common: for `host list`, `host show`, `status`.

Kept in memory. A refused agent says Hello again within a minute, so whoever serves it next knows within that time too. Of several
controllers each knows the hosts that come to it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from seawall.api.v1 import resources_pb2
from seawall.controller.services.convert_time import timestamp
from seawall.repository.clock import Clock

STALE_US = 10 * 60 * 1_000_000
"""Who said nothing for so long may have been upgraded and gone to another controller, or is off: nothing is told of it any more."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """`why`: the sentence that the agent was told. `by_older`: it is this controller that is to be upgraded.

    `since_us`: of the first Hello that this process refused; `last_us`: of the last one.
    """

    agent_version: str
    why: str
    by_older: bool
    since_us: int
    last_us: int


class OutdatedHosts:
    """Written in one event loop, read in any thread. At most one entry a host, as its certificate names it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refused: dict[str, Refusal] = {}

    def refused(self, host_id: str, agent_version: str, why: str, *, by_older: bool) -> None:
        now_us = self._clock.now_us()
        known = self._refused.get(host_id)
        since_us = known.since_us if known is not None else now_us
        self._refused[host_id] = Refusal(agent_version, why, by_older, since_us, now_us)

    def welcomed(self, host_id: str) -> None:
        self._refused.pop(host_id, None)

    def mark(self, hosts: Iterable[resources_pb2.Host]) -> None:
        """Says it of those that are refused."""
        now_us = self._clock.now_us()
        for host in hosts:
            known = self._refused.get(host.host_id)
            if known is not None and now_us - known.last_us < STALE_US and not host.revoked:
                host.needs_upgrade.CopyFrom(
                    resources_pb2.NeedsUpgrade(
                        agent_version=known.agent_version,
                        since=timestamp(known.since_us),
                        sentence=known.why,
                        controller_is_older=known.by_older,
                    )
                )
