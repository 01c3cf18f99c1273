"""Whether each repository's store can be used now: asked for its config every half minute, so that trouble shows before a run meets it."""

import asyncio
import threading
from functools import partial

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.outside import next_step, told
from seawall.controller.server.drain import Drain, end_tasks
from seawall.controller.services.blocking import Blocking
from seawall.controller.store.transaction import Store as Database
from seawall.repository.clock import Clock, datetime_of
from seawall.repository.format.layout import config_name

_log = structlog.get_logger()

INTERVAL_SECONDS = 30.0
PATIENCE_SECONDS = 5.0
"""A file system that hangs may never answer."""
MOST_SILENT = 4
"""Stores that are being asked at once and do not answer: each holds a thread of those that serve all calls."""


class StoreHealth:
    """Thread-safe. Knows nothing of a repository that was not asked yet."""

    def __init__(self, repositories: RepositoryCatalogue, clock: Clock) -> None:
        self._repositories = repositories
        self._clock = clock
        self._lock = threading.Lock()
        self._troubles: dict[str, tuple[int, str]] = {}

    def trouble(self, repository_id: str) -> str:
        """A sentence with a next step; "" when the store answered last time, or was not asked yet."""
        _, opening = self._repositories.openings.told(repository_id)
        if opening:
            return opening
        with self._lock:
            since_us, text = self._troubles.get(repository_id, (0, ""))
        return f"not usable since {datetime_of(since_us):%Y-%m-%d %H:%M:%S} UTC: {text}" if text else ""

    def opening_since_us(self, repository_id: str) -> int:
        """0: it is open, or nobody tried to open it for long enough to be told."""
        return self._repositories.openings.told(repository_id)[0]

    def ask(self, repository_id: str) -> None:
        """One request. Blocks as long as the store's retries do."""
        try:
            with told():
                self._repositories.open(repository_id).store.head(config_name())
        except ControllerError as error:
            if error.reason != "REPOSITORY_OPENING":  # of which the opening tells by itself
                self._note(repository_id, error)
        else:
            with self._lock:
                ended = self._troubles.pop(repository_id, None)
            if ended is not None:
                _log.info("store.well", repository_id=repository_id)

    def _note(self, repository_id: str, error: ControllerError) -> None:
        text = f"{error} ({error.reason}) {next_step(error.reason)}"
        with self._lock:
            known = self._troubles.get(repository_id)
            self._troubles[repository_id] = (known[0] if known else self._clock.now_us(), text)
        if known is None:
            _log.warning("store.troubled", repository_id=repository_id, reason=error.reason, error=str(error))


async def watch_stores(health: StoreHealth, database: Database, blocking: Blocking, drain: Drain) -> None:
    """Returns when the drain starts. One that does not answer keeps the others waiting for a moment; it is asked again once it has."""
    asked: dict[str, asyncio.Task[None]] = {}
    while not drain.started:
        try:
            records = await database.read(lambda transaction: transaction.repositories.repositories())
            for record in records:
                under_way = asked.get(record.id)
                silent = sum(not each.done() for each in asked.values())
                if drain.started or silent >= MOST_SILENT or (under_way is not None and not under_way.done()):
                    continue
                asked[record.id] = asyncio.create_task(_ask(health, record.id, blocking))
                await drain.first(asyncio.shield(asked[record.id]), PATIENCE_SECONDS)
        except ControllerError as error:
            _log.warning("stores.not_asked", reason=error.reason, error=str(error))
        except Exception:
            # The top of the loop: the next round asks again.
            _log.exception("stores.not_asked")
        await drain.first(asyncio.sleep(INTERVAL_SECONDS), INTERVAL_SECONDS)
    # One that hangs is not waited for: its thread goes on where nobody can stop it (services/blocking.py).
    await end_tasks(asked.values(), PATIENCE_SECONDS)


async def _ask(health: StoreHealth, repository_id: str, blocking: Blocking) -> None:
    try:
        await blocking.run(partial(health.ask, repository_id))
    except Exception:
        # The top of a task: the next round asks again.
        _log.exception("store.not_asked", repository_id=repository_id)
