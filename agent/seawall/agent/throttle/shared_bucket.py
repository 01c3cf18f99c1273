"""A token bucket that all workers of a host share, in a small file: the host's own limit, whatever number of backups run.

A worker that is killed owes nothing: the lock goes with it, and what it took comes back with time. One that is stopped in the midst of
the few microseconds under the lock holds the others up for LOCK_SECONDS, then they go on without the limit.
"""

import fcntl
import math
import os
import struct
from pathlib import Path

from seawall.agent.throttle.bucket import TokenBucket

LOCK_SECONDS = 5.0
AGAIN_SECONDS = 0.002
LATE_SECONDS = 1.0
"""Who asked for the time and then for the lock may be overtaken in between: what is so little ahead is of now."""
_STATE = struct.Struct("<dd")  # level, and when it was so (monotonic seconds, which all processes of a host share)


class SharedBucket:
    """As TokenBucket, of one rate. Raises OSError where the file cannot be made."""

    def __init__(self, file: Path, per_second: float, burst: float) -> None:
        self.per_second, self._burst = per_second, burst
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._refused_since = math.nan

    def take(self, amount: float, now_seconds: float) -> float:
        """0: taken, or nobody lets go of the lock. Else ask again after so many seconds."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._refused(now_seconds)
        self._refused_since = math.nan
        try:
            bucket = self._read(now_seconds)
            seconds = bucket.take(amount, now_seconds)
            os.pwrite(self._descriptor, _STATE.pack(bucket.level, bucket.filled_seconds), 0)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return seconds

    def close(self) -> None:
        os.close(self._descriptor)

    def _read(self, now: float) -> TokenBucket:
        """Full where nothing, or nothing sensible, was written: a time to come, a debt of more than a minute."""
        state = os.pread(self._descriptor, _STATE.size, 0)
        if len(state) == _STATE.size:
            level, seconds = _STATE.unpack(state)
            if seconds <= now + LATE_SECONDS and -60 * self.per_second <= level <= self._burst:
                return TokenBucket(self.per_second, self._burst, seconds, level)
        return TokenBucket(self.per_second, self._burst, now)

    def _refused(self, now: float) -> float:
        if math.isnan(self._refused_since):
            self._refused_since = now
        return 0.0 if now - self._refused_since > LOCK_SECONDS else AGAIN_SECONDS
