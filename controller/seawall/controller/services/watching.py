"""WatchRuns: a snapshot, then each change, at most one a second and run but for its end, until all of the runs are over."""

from collections.abc import AsyncIterator, Sequence

from seawall.controller.errors import InvalidArgument
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.wakes import ENDED, Wakes
from seawall.controller.server.drain import Drain
from seawall.controller.services.naming import find_run
from seawall.controller.services.run_history import RunHistory
from seawall.controller.services.views import RunView, run_views
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings

MOST_RUNS = 1000


class Watching:
    """Belongs to one event loop. Reads state, never messages: a slow watcher misses steps in between, never the end."""

    def __init__(
        self, store: Store, history: RunHistory, wakes: Wakes, drain: Drain, clock: SteadyClock, timings: Timings
    ) -> None:
        self._store = store
        self._history = history
        self._wakes = wakes
        self._drain = drain
        self._clock = clock
        self._timings = timings

    async def watch(self, texts: Sequence[str]) -> AsyncIterator[RunView]:
        """Raises NotFound/RUN_UNKNOWN, InvalidArgument/NO_RUNS; Unavailable/DRAINING when the controller stops: watch again."""
        if not 0 < len(texts) <= MOST_RUNS:
            raise InvalidArgument("NO_RUNS", f"Name 1 to {MOST_RUNS} runs to watch.")
        run_ids = await self._store.read(lambda transaction: _ids(transaction, texts))
        shown: dict[str, object] = {}
        while True:
            seen, ended = self._wakes.seen(), self._wakes.seen(ENDED)
            now_us = self._clock.now_us()
            views = await self._store.read(
                lambda transaction, now_us=now_us: self._views(transaction, run_ids, now_us)  # type: ignore[misc]
            )
            for view in views:
                # A host falls silent by the time alone: nothing of the run changes with it.
                looks = view.mark, view.silences
                if shown.get(view.run.id) != looks:
                    shown[view.run.id] = looks
                    yield view
            if all(view.run.state.over for view in views):
                return
            self._drain.refuse_if_started()
            await self._drain.first(self._wakes.changed(seen), self._timings.scheduler_interval_seconds)
            await self._drain.first(self._wakes.changed(ended, ENDED), self._timings.watch_interval_seconds)

    def _views(self, transaction: Transaction, run_ids: Sequence[str], now_us: int) -> list[RunView]:
        found = {run.id: run for run in transaction.runs.runs_of(run_ids)}
        runs = [found[run_id] for run_id in run_ids if run_id in found]
        return run_views(transaction, runs, now_us, self._history, listening_us=self._clock.started_us)


def _ids(transaction: Transaction, texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(find_run(transaction, text).id for text in texts))
