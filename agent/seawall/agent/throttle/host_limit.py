"""The limit of one host, from its agent's configuration: over all disks that are read for backups there, at once."""

from collections.abc import Callable
from pathlib import Path

from seawall.agent.errors import AgentError
from seawall.agent.throttle.bucket_pace import BURST_SECONDS, BucketPace
from seawall.agent.throttle.shared_bucket import SharedBucket
from seawall.repository.clock import Clock

BYTES_FILE = "reading-bytes"
REQUESTS_FILE = "reading-requests"


class LimitUnusable(AgentError):
    """The workers have nowhere to share the host's limit."""

    reason = "LIMIT_UNUSABLE"
    next_step = "See that the agent may write to its run_dir on that host; it is tried again."


def host_limit(
    run_dir: Path, bytes_per_second: int, iops: int, clock: Clock, check: Callable[[], None]
) -> BucketPace | None:
    """None where there is none. Raises LimitUnusable."""
    if not bytes_per_second and not iops:
        return None
    limits = [f"{bytes_per_second / 1_000_000:g} MB/s"] if bytes_per_second else []
    limits += [f"{iops} requests a second"] if iops else []
    pace = BucketPace(clock, check, lambda: f"this host's limit of {' and '.join(limits)}")
    if bytes_per_second:
        pace.share_bytes(_bucket(run_dir / BYTES_FILE, bytes_per_second))
    if iops:
        pace.share_requests(_bucket(run_dir / REQUESTS_FILE, iops))
    return pace


def _bucket(file: Path, per_second: int) -> SharedBucket:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return SharedBucket(file, per_second, max(per_second * BURST_SECONDS, 1.0))
    except OSError as error:
        raise LimitUnusable(f"The host's limit cannot be kept: {error}.") from error
