"""WatchRuns over all runs: a snapshot of what is open, then what changed, for as long as somebody listens."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.wakes import ENDED, Wakes
from seawall.controller.server.drain import Drain
from seawall.controller.services.naming import find_vm
from seawall.controller.services.run_feed import RunFeed
from seawall.controller.services.run_history import RunHistory
from seawall.controller.services.views import RunView, run_views
from seawall.controller.services.watching import Watching
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
from seawall.repository.batches import in_batches

BATCH = 200
"""Runs that are read at once: a slow watcher holds no more than these."""
BOOKMARK_SECONDS = 10.0
"""A watcher hears something that often, so that it knows that nothing happened."""


@dataclass(frozen=True, slots=True)
class Told:
    """One answer of the stream: a run, or one of the others."""

    view: RunView | None = None
    snapshot: bool = False
    resume_token: str = ""


class WatchingAll:
    """Belongs to one event loop. Reads state, never messages: what changes twice before a watcher took it is told once, as it is then."""

    def __init__(
        self,
        store: Store,
        feed: RunFeed,
        history: RunHistory,
        wakes: Wakes,
        drain: Drain,
        clock: SteadyClock,
        timings: Timings,
    ) -> None:
        self._store = store
        self._feed = feed
        self._history = history
        self._wakes = wakes
        self._drain = drain
        self._clock = clock
        self._timings = timings

    async def watch(self, vm: str, resume_token: str) -> AsyncIterator[Told]:
        """Raises NotFound/VM_UNKNOWN, InvalidArgument/AMBIGUOUS, BAD_RESUME_TOKEN; Unavailable/DRAINING when the controller stops."""
        vm_id = (await self._store.read(lambda transaction: find_vm(transaction, vm).id)) if vm else ""
        await self._feed.look()
        position = self._feed.number_of(resume_token)
        while True:
            seen, ended = self._wakes.seen(), self._wakes.seen(ENDED)
            await self._feed.look()
            changes = self._feed.changes
            whole = position is None or position < changes.oldest
            run_ids = changes.all() if whole else changes.since(position or 0)
            position = changes.number
            if whole:
                yield Told(snapshot=True)
            async for view in self._views(run_ids, vm_id, only_open=whole):
                yield Told(view=view)
            yield Told(resume_token=self._feed.token(position))
            self._drain.refuse_if_started()
            await self._drain.first(self._wakes.changed(seen), BOOKMARK_SECONDS)
            await self._drain.first(self._wakes.changed(ended, ENDED), self._timings.watch_interval_seconds)
            self._drain.refuse_if_started()

    async def _views(self, run_ids: Sequence[str], vm_id: str, *, only_open: bool) -> AsyncIterator[RunView]:
        for batch in in_batches(run_ids, BATCH):
            now_us = self._clock.now_us()

            def closure(transaction: Transaction, batch: Sequence[str] = batch, now_us: int = now_us) -> list[RunView]:
                runs = transaction.runs.runs_of(batch)
                wanted = [run for run in runs if vm_id in ("", run.vm_id) and not (only_open and run.state.over)]
                return run_views(transaction, wanted, now_us, self._history, listening_us=self._clock.started_us)

            for view in await self._store.read(closure):
                yield view


@dataclass(frozen=True, slots=True)
class Watches:
    """All that screens follow runs by."""

    named: Watching
    every: WatchingAll
    history: RunHistory


def make_watches(store: Store, wakes: Wakes, drain: Drain, clock: SteadyClock, timings: Timings) -> Watches:
    """For one event loop."""
    history, feed = RunHistory(), RunFeed(store, wakes, clock, timings)
    return Watches(
        Watching(store, history, wakes, drain, clock, timings),
        WatchingAll(store, feed, history, wakes, drain, clock, timings),
        history,
    )
