"""A controller that signs GETs of packs for an agent's reader, over a CheckedWorld. A URL is the object's name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from seawall.agent.control.client import ControllerClient
from seawall.agent.control.coordinator import AgentPackReader
from seawall.agent.control.messages import ReadUrl
from seawall.repository.clock import SystemClock
from seawall.repository.generations import stored_generations
from seawall.repository.store.port import SignedTransfer
from support.checked_world import CheckedWorld


@dataclass
class Signer:
    """Signs what counts and what lies there; for any other generation the first of those that count. `older`: what counts alone."""

    checked: CheckedWorld
    older: bool = False
    asked: list[Sequence[tuple[bytes, int]]] = field(default_factory=list)

    def read_urls(self, packs: Sequence[tuple[bytes, int]]) -> list[ReadUrl]:
        assert len(packs) <= 256
        self.asked.append(packs)
        return [self._signed(pack_id, generation) for pack_id, generation in packs]

    def _signed(self, pack_id: bytes, asked: int) -> ReadUrl:
        pack = self.checked.ledger.stored[pack_id]
        lying = [] if self.older else stored_generations(self.checked.store, pack.tenant, pack_id)
        signed = asked if asked in pack.generations or asked in lying else pack.generation
        return ReadUrl(pack_id, signed, self.checked.name(pack, signed), SystemClock().now_us() + 3_600_000_000)

    def reader(self, of: type[AgentPackReader] = AgentPackReader) -> AgentPackReader:
        """As a worker has it."""
        return of(cast(ControllerClient, self), cast(SignedTransfer, self.checked.store), SystemClock())
