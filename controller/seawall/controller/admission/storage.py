"""Which storages a VM's disks are read from, as stable keys: what a limit on a file system or a pool counts by. Pure."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from seawall.controller.records.fleet import VmDisk

POOL = "pool:"
_SHARED = re.compile(r"[a-z0-9]{1,16}:.+")
"""What an agent may call a storage that is not its host's own: no id of a host begins like that."""


def storages_of(host_id: str, disks: Iterable[VmDisk]) -> tuple[str, ...]:
    """The keys of a VM's disks and of their backing files, each once, sorted."""
    return tuple(sorted({key for disk in disks for key in keys_of(host_id, disk)}))


def keys_of(host_id: str, disk: VmDisk) -> tuple[str, ...]:
    """Those of one disk, that of its top image first; none of what no backup reads, and where a disk has no source."""
    if not disk.is_captured:
        return ()
    keys = [_key(host_id, told) for told in disk.storages] or [_storage_of(host_id, disk.source)]
    return tuple(key for key in keys if key)


def _key(host_id: str, told: str) -> str:
    """A shared storage by its name alone; whatever else an agent says is of its own host."""
    if _SHARED.fullmatch(told) and not told.startswith(POOL):
        return told
    return f"{host_id}:{told}"


def _storage_of(host_id: str, source: str) -> str:
    """As good as the path alone tells, from an agent that does not: of a file its directory on that host, of a network disk its pool."""
    if source.startswith("/"):
        return f"{host_id}:{PurePosixPath(source).parent}"
    first = source.partition("/")[0]
    if source.startswith(POOL):
        return f"{host_id}:{first}"
    return first


def with_host_name(key: str, host_id: str, host_name: str) -> str:
    """As operators write the key of a storage of this host, or a shared one."""
    own = f"{host_id}:"
    return f"{host_name}:{key.removeprefix(own)}" if key.startswith(own) else key
