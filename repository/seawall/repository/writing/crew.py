"""The threads of one point writer: a few lanes of workers, one place for the first fault, one way to wait.

One thread, the driver, owns all state and hands jobs to the lanes; jobs never wait for other jobs, so nothing can lock up. Whatever fails
first, in any thread, is what the driver gets to see.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from enum import Enum
from threading import Lock
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Item = TypeVar("Item")

_WAIT_SECONDS = 0.25


class Lane(Enum):
    """A kind of work, and how many threads it gets."""

    READ = ("read", 3)
    HASH = ("hash", 2)
    """Chunks and closed packs. Apart from computing: what is hashed behind a queue of chunks to seal is looked up, or uploaded, late."""
    COMPUTE = ("compute", 2)
    LOOKUP = ("lookup", 4)
    FETCH = ("fetch", 4)
    """Pages of the parent point."""
    UPLOAD = ("upload", 2)


class Crew:
    """Owned by the driver. `stop` is called often and raises to abort."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._lock = Lock()
        self._fault: BaseException | None = None
        self._closed = False
        self._lane_of: WeakKeyDictionary[Future[Any], Lane] = WeakKeyDictionary()
        self.waiting_for: Lane | None = None
        """Whose job the driver waits for at this moment; None while it works itself. Any thread may read it."""
        self._lanes = {
            lane: ThreadPoolExecutor(lane.value[1], thread_name_prefix=f"writer-{lane.value[0]}") for lane in Lane
        }

    def submit(
        self, lane: Lane, job: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> "Future[Result]":
        def run() -> Result:
            if self._fault is not None:
                raise CancelledError
            try:
                return job(*args, **kwargs)
            except BaseException as error:
                with self._lock:
                    self._fault = self._fault or error
                raise

        future = self._lanes[lane].submit(run)
        self._lane_of[future] = lane
        return future

    def check(self) -> None:
        """Raises what `stop` raises, or the first fault of any job."""
        self._stop()
        if self._fault is not None:
            raise self._fault

    def result(self, future: "Future[Result]") -> Result:
        """Waits for a job, with an eye on `stop` and on all other jobs."""
        if future.done():
            self.check()
            return future.result()
        self.waiting_for = self._lane_of.get(future)
        try:
            while True:
                self.check()
                if wait([future], timeout=_WAIT_SECONDS).done:
                    self.check()
                    return future.result()
        finally:
            self.waiting_for = None

    def close(self) -> None:
        """Drops what has not begun and waits for what has. No thread is left. Idempotent."""
        with self._lock:
            self._fault = self._fault or CancelledError()
        for executor in self._lanes.values():
            executor.shutdown(wait=False, cancel_futures=True)
        for executor in self._lanes.values():
            executor.shutdown(wait=True)


def ahead(
    items: Iterable[Item], start: Callable[[Item], Result], weight: Callable[[Item], int], limit: int
) -> Iterator[tuple[Item, Result]]:
    """Starts items before they are needed: yields (item, started) in order, with at most `limit` weight (and one item more) waiting."""
    waiting: deque[tuple[Item, Result, int]] = deque()
    held = 0
    for item in items:
        size = weight(item)
        waiting.append((item, start(item), size))
        held += size
        while held > limit:
            first, started, size = waiting.popleft()
            held -= size
            yield first, started
    for first, started, _ in waiting:
        yield first, started
