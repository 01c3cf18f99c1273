"""The store's port: calls of hooks, and what is wrong with VMs under policies."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from seawall.controller.records.hooks import EndedRun, HookCall, Stage, Trouble
from seawall.controller.records.runs import AttemptState


@dataclass(frozen=True, slots=True)
class DueCall:
    """A call whose turn it is. `attempt_state` None: of a notice.

    `overtaken`: a hook before a later attempt of its run was begun. `touched`: the host took the attempt, or a hook before it was begun.
    """

    call: HookCall
    attempt_state: AttemptState | None = None
    overtaken: bool = False
    touched: bool = False


class Hooks(Protocol):
    """Calls and troubles."""

    def add_calls(self, calls: Sequence[HookCall]) -> None: ...

    def call(self, call_id: str) -> HookCall | None: ...

    def save_call(self, before: HookCall, after: HookCall) -> bool:
        """False: it is not as it was before, and stays so."""

    def calls_of(self, run_ids: Sequence[str]) -> Sequence[HookCall]:
        """By run, in the order in which they are made."""

    def due(self, stage: Stage, now_us: int, limit: int) -> Sequence[DueCall]:
        """WAITING calls of a stage whose time has come, oldest first, of each attempt (of each policy's notices by a hook) the first alone.

        Those after an attempt once it is over, or its host is done with it.
        """

    def due_call(self, call_id: str, now_us: int) -> DueCall | None:
        """The same of one call, as it is now."""

    def failed(self, since_us: int) -> dict[str, int]:
        """Policy id -> calls that failed since, but for hooks that said "not now"."""

    def last_failed(self, since_us: int) -> dict[str, HookCall]:
        """Hook -> its call that failed last, since then."""

    def drop_calls(self, ended_before_us: int, limit: int) -> int:
        """Those that ended before, at most so many; how many."""

    def ended_runs(self, policy_ids: Collection[str], since_us: int) -> Sequence[EndedRun]:
        """Of these policies, that ended since, in the order of their ends."""

    def first_due_us(self, policy_id: str, vm_ids: Collection[str]) -> dict[str, int]:
        """VM id -> the first nominal time for which the policy made a run of it, of those that it made one for."""

    def troubles(self, policy_id: str) -> Sequence[Trouble]: ...

    def put_troubles(self, troubles: Sequence[Trouble]) -> None:
        """In place of older ones of the same policy, VM and event."""

    def take_troubles(self, troubles: Sequence[Trouble]) -> None:
        """They are over."""

    def drop_troubles(self, policy_id: str) -> None: ...
