"""What a backup by bitmap reads, beside what the guest wrote since the last one."""

import time
from collections.abc import Iterable

from support.paced_guest import places

from .backups import Backups

GRANULARITY_BYTES = 64 * 1024
"""Of a dirty bitmap over qcow2 with its usual clusters."""
AROUND_BYTES = 256 * 1024
WRITE_SECONDS = 20.0
DISK = "vdb"


def amplification(backups: Backups, disk_bytes: int) -> dict[str, object]:
    """The guest writes for a while and is held; every place that it wrote to is known."""
    guest = backups.guest
    guest.command("hold")
    backups.ended(backups.start(("--exclude-disk", "vda")))
    before = guest.latencies().total
    guest.command("go")
    time.sleep(WRITE_SECONDS)
    guest.command("hold")
    after = guest.latencies().total
    run = backups.ended(backups.start(("--exclude-disk", "vda")))
    guest.command("go")
    (disk,) = run["attempts"][-1]["progress"]["disks"]
    extents = list(dirty_extents(places(range(before + 1, after + 1), disk_bytes)))
    dirty = sum(end - start for start, end in extents)
    reading = {
        "how": disk["how"],
        "writes": after - before,
        "dirty_bytes": dirty,
        "dirty_extents": len(extents),
        "read_bytes": disk["read_bytes"],
        "allowed_bytes": dirty + AROUND_BYTES * len(extents),
    }
    return {"read_amplification": round(disk["read_bytes"] / dirty, 3), "reading": reading}


def dirty_extents(offsets: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Runs of blocks of the bitmap, neighbours joined."""
    start = end = -1
    for block in sorted({offset // GRANULARITY_BYTES for offset in offsets}):
        if block * GRANULARITY_BYTES != end:
            if end > 0:
                yield start, end
            start = block * GRANULARITY_BYTES
        end = (block + 1) * GRANULARITY_BYTES
    if end > 0:
        yield start, end
