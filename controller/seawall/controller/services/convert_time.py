"""Times and durations on the wire."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(microseconds: int) -> Timestamp | None:
    """None, an absent field, for 0: it has not happened."""
    if not microseconds:
        return None
    value = Timestamp()
    value.FromMicroseconds(microseconds)
    return value


def duration(seconds: float) -> Duration:
    value = Duration()
    value.FromMicroseconds(int(seconds * 1_000_000))
    return value


def seconds_of(value: Duration) -> float:
    return value.ToMicroseconds() / 1_000_000


def microseconds_of(value: Timestamp) -> int:
    return int(value.ToMicroseconds())
