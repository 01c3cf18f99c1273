"""A pace over token buckets: waits in short steps, so that a new rate, a stop or the end of the work is seen at once."""

import math
import threading
from collections.abc import Callable
from typing import Protocol

from seawall.agent.errors import AgentError
from seawall.agent.throttle.bucket import TokenBucket
from seawall.agent.throttle.port import WHOLE_BYTES
from seawall.agent.throttle.waiting import Waiting
from seawall.repository.clock import Clock

STEP_SECONDS = 0.1
BURST_SECONDS = 0.1
SLICE_SECONDS = 0.05
"""One read takes no more of the rate than so much time."""
SMALLEST_SLICE_BYTES = 64 * 1024
LARGEST_SLICE_BYTES = 2 * 1024 * 1024


class ReadingStopped(AgentError):
    """The writing of the point ended for another reason, which is the one that is told."""

    reason = "READING_STOPPED"


class Bucket(Protocol):
    """TokenBucket, or one that is shared with other processes."""

    @property
    def per_second(self) -> float: ...

    def take(self, amount: float, now_seconds: float) -> float: ...


class BucketPace:
    """See Pace. `check` raises what stops the worker; `sentence` says what is waited for, where anything is."""

    def __init__(self, clock: Clock, check: Callable[[], None], sentence: Callable[[], str]) -> None:
        """Without limits until `limit_bytes` or `limit_requests`."""
        now = clock.monotonic_seconds()
        self._clock, self._check, self._sentence = clock, check, sentence
        self._lock = threading.Lock()
        self._own_bytes = TokenBucket(math.inf, 0.0, now)
        self._own_requests = TokenBucket(math.inf, 0.0, now)
        self._bytes: Bucket = self._own_bytes
        self._requests: Bucket = self._own_requests
        self._waiting = Waiting(clock)
        self._stopped = False
        self._admitted_bytes = 0

    def limit_bytes(self, per_second: float) -> None:
        """From now on; math.inf: no limit."""
        self._limit(self._own_bytes, per_second)

    def limit_requests(self, per_second: float) -> None:
        self._limit(self._own_requests, per_second)

    def share_bytes(self, bucket: Bucket) -> None:
        """Take them from this one, which others use as well. Before anybody reads."""
        self._bytes = bucket

    def share_requests(self, bucket: Bucket) -> None:
        self._requests = bucket

    def stop(self) -> None:
        """Whoever waits, or would, raises ReadingStopped."""
        self._stopped = True

    @property
    def held_back_seconds(self) -> float:
        """Altogether."""
        return self._waiting.total_seconds

    @property
    def admitted_bytes(self) -> int:
        """Altogether."""
        return self._admitted_bytes

    @property
    def waiting_on(self) -> str:
        return self._sentence() if self._waiting.lately else ""

    @property
    def slice_bytes(self) -> int:
        rate = self._bytes.per_second
        if rate == math.inf:
            return WHOLE_BYTES if self._requests.per_second == math.inf else LARGEST_SLICE_BYTES
        wanted = min(max(rate * SLICE_SECONDS, SMALLEST_SLICE_BYTES), LARGEST_SLICE_BYTES)
        return int(wanted) // SMALLEST_SLICE_BYTES * SMALLEST_SLICE_BYTES

    def admit(self, n_bytes: int, n_requests: int) -> None:
        for bucket, amount in ((self._bytes, n_bytes), (self._requests, n_requests)):
            if self._take(bucket, amount) > 0:
                with self._waiting.one():
                    self._await(bucket, amount)
        with self._lock:
            self._admitted_bytes += n_bytes

    def _await(self, bucket: Bucket, amount: int) -> None:
        while (seconds := self._take(bucket, amount)) > 0:
            if self._stopped:
                raise ReadingStopped("reading was stopped")
            self._check()
            self._clock.sleep_seconds(min(seconds, STEP_SECONDS))

    def _take(self, bucket: Bucket, amount: int) -> float:
        with self._lock:
            return bucket.take(amount, self._clock.monotonic_seconds())

    def _limit(self, bucket: TokenBucket, per_second: float) -> None:
        with self._lock:
            burst = 0.0 if per_second == math.inf else max(per_second * BURST_SECONDS, 1.0)
            bucket.change(per_second, burst, self._clock.monotonic_seconds())
