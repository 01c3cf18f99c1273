"""Which storage a VM's disks are read from, as a stable key: what a limit on a pool or a datastore counts by. Pure."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from seawall.controller.records.fleet import VmDisk

POOL = "pool:"


def storages_of(host_id: str, disks: Iterable[VmDisk]) -> tuple[str, ...]:
    """The keys of a VM's disks, each once, sorted.

    A path is its directory on that host (files of one pool, volumes of one volume group); a network disk is its protocol and the first
    part of its name (rbd:pool), which hosts share.
    """
    keys = {storage_of(host_id, disk.source) for disk in disks if disk.is_captured}
    return tuple(sorted(keys - {""}))


def storage_of(host_id: str, source: str) -> str:
    """ "" where a disk has no source."""
    if source.startswith("/"):
        return f"{host_id}:{PurePosixPath(source).parent}"
    first = source.partition("/")[0]
    if source.startswith(POOL):
        return f"{host_id}:{first}"
    return first
