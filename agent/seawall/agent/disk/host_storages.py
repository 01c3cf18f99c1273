"""Asks this host where the disks of its VMs lie, once for all VMs of an inventory. The names are `storage_names`' own.

No image is opened, and nothing of a file system of another machine is touched, which may be away: what is asked are two lists of the
kernel, and on local file systems whether a part of a path is a link.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from seawall.agent.disk.mounts import Mounts, parse_mounts
from seawall.agent.disk.storage_names import MappedDevice, StorageNames
from seawall.agent.hypervisor.port import Domain, DomainDisk

MOUNTS = Path("/proc/self/mountinfo")
BLOCK_DEVICES = Path("/sys/block")


class HostStorages:
    """Thread-safe: what is kept from one look to the next is replaced whole. The folders are arguments for tests alone."""

    def __init__(self, mounts: Path = MOUNTS, block_devices: Path = BLOCK_DEVICES) -> None:
        self._mounts = mounts
        self._block_devices = block_devices
        self._last: tuple[str, Mounts] = ("", Mounts(()))

    def located(self, domains: Sequence[Domain]) -> tuple[Domain, ...]:
        """The same VMs with their disks' storages; as they are where the kernel lists no mounts."""
        try:
            mounts = self._read_mounts()
        except OSError:
            return tuple(domains)
        names = StorageNames(mounts, read_mapped(self._block_devices), cache(read_link))
        return tuple(replace(domain, disks=tuple(_located(names, disk) for disk in domain.disks)) for domain in domains)

    def _read_mounts(self) -> Mounts:
        """Read each time, parsed when it changed: a host of containers has thousands."""
        text = self._mounts.read_text(errors="surrogateescape")
        if text != self._last[0]:
            self._last = (text, Mounts(parse_mounts(text)))
        return self._last[1]


def _located(names: StorageNames, disk: DomainDisk) -> DomainDisk:
    return replace(disk, storages=names.of_chain((disk.source, *disk.backing)))


def read_link(path: str) -> str:
    with suppress(OSError):
        return os.readlink(path)
    return ""


def read_mapped(folder: Path) -> Mapping[str, MappedDevice]:
    """ "dm-3" -> what device-mapper calls it, of those that are still there."""
    found = {}
    with suppress(OSError):
        for node in os.listdir(folder):
            if node.startswith("dm-"):
                with suppress(OSError):
                    there = folder / node / "dm"
                    found[node] = MappedDevice(
                        (there / "name").read_text().strip(), (there / "uuid").read_text().strip()
                    )
    return found
