"""Whether a report shows that an attempt got further: what keeps a transferring one from its deadline. Pure."""

from seawall.controller.records.runs import Progress


def further(known: Progress | None, reported: Progress) -> bool:
    """`known`: the last report that was stored. A report that was overtaken, or that comes again, shows nothing."""
    if known is None:
        return True
    newer = reported.seq > known.seq
    return newer and (_bytes(reported) > _bytes(known) or reported.phase != known.phase)


def _bytes(progress: Progress) -> int:
    return sum(disk.read_bytes + disk.stored_bytes for disk in progress.disks)
