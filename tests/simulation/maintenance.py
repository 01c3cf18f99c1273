"""A maintenance worker, as a fibre of its controller: the real collection over the controller's own line to the bucket.

In the place of the exec'ed process and its pipe: plain calls, with what goes through the pipe as the JSON that it is.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from seawall.controller.errors import ControllerError, Unavailable
from seawall.controller.maintenance.collect_work import collect
from seawall.controller.maintenance.ledger_calls import Calls
from seawall.controller.maintenance.process import Outcome
from seawall.controller.services.blocking import Blocking
from seawall.repository.clock import Clock
from seawall.repository.collecting.errors import CollectionStopped
from seawall.repository.collecting.port import LedgerBusy, LedgerRefused
from seawall.repository.errors import RepositoryError, TemporaryError
from seawall.repository.repository import open_repository
from seawall.repository.store.retry import RetryingStore, RetryPolicy

from .bucket import Line
from .controller import SimulatedController, current_controller

TRIES, PAUSE_SECONDS = 4, 2.0


class Killed(Exception):
    """By the supervisor."""


class SimulatedLink:
    """A `Link`."""

    def __init__(self, calls: Calls, clock: Clock) -> None:
        self._calls = calls
        self._clock = clock
        self.killed = ""

    def ask(self, call: str, **body: Any) -> Any:
        for _ in range(TRIES):
            try:
                return self._ask(call, body)
            except LedgerBusy:
                self._clock.sleep_seconds(PAUSE_SECONDS)
        return self._ask(call, body)

    def _ask(self, call: str, body: dict[str, Any]) -> Any:
        if self.killed:
            raise Killed(self.killed)
        try:
            return json.loads(json.dumps(self._calls[call](json.loads(json.dumps(body)))))
        except Unavailable as error:
            raise LedgerBusy(str(error)) from error
        except ControllerError as error:
            raise LedgerRefused(error.reason, str(error)) from error


class SimulatedMaintenance:
    """In the place of `maintenance.process.WorkerProcess`. It dies with its controller."""

    def __init__(self, order: Mapping[str, Any], calls: Calls, blocking: Blocking) -> None:
        self._order = order
        self._controller: SimulatedController = current_controller()
        self._link = SimulatedLink(calls, self._controller.clock)

    async def run(self) -> Outcome:
        outcome = await asyncio.get_running_loop().run_in_executor(None, self._work)
        self._controller.world.collected(outcome)
        return outcome

    def kill(self, why: str) -> None:
        self._link.killed = self._link.killed or why

    def _work(self) -> Outcome:
        order, clock = self._order, self._controller.clock
        try:
            line = Line(self._controller.world.bucket, self._controller.machine)
            store = RetryingStore(line, clock, RetryPolicy(deadline_seconds=60.0))
            secret, pinned = bytes.fromhex(order["wrapper_secret"]), bytes.fromhex(order["signing_public_key"])
            repository = open_repository(store, order["wrapper"], secret, pinned_signing_key=pinned)
            link: Any = self._link
            return Outcome(collect(repository, link, clock, order["request"], order["settings"]))
        except Killed as error:
            return Outcome(died=str(error))
        except (CollectionStopped, LedgerRefused) as error:
            return Outcome(failure={"reason": error.reason, "message": str(error), "temporary": False})
        except RepositoryError as error:
            reason = type(error).__name__
            return Outcome(
                failure={"reason": reason, "message": str(error), "temporary": isinstance(error, TemporaryError)}
            )
