"""Where the disks of a VM lie, asked of libvirt: volumes of pools, secrets. Within a call that has a deadline. Raises libvirtError."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import libvirt

from seawall.agent.errors import DiskNeedsRunningVm
from seawall.agent.hypervisor import xml
from seawall.agent.hypervisor.image_xml import image_of
from seawall.agent.hypervisor.port import DiskImage, DomainDisk

_KINDS = {libvirt.VIR_STORAGE_VOL_FILE: ("file", "file"), libvirt.VIR_STORAGE_VOL_BLOCK: ("block", "dev")}
"""Of a volume: the type of a disk on it, and the attribute of its source."""


def disk_images(domain: Any, targets: Sequence[str]) -> list[DiskImage]:
    """Raises DiskNeedsRunningVm as well."""
    connection = domain.connect()
    rows = xml.disk_rows(xml.parse(domain.XMLDesc(0)))
    return [image_of(_on_its_own(connection, rows[target]), lambda row: _secret(connection, row)) for target in targets]


def at_its_path(connection: Any, disk: DomainDisk) -> DomainDisk:
    """A disk on a volume, as the file or device that this is; as it is where it is neither, or its pool is inactive."""
    pool, _, name = disk.source.removeprefix("pool:").partition("/")
    found = _volume(connection, pool, name) if disk.source_type == "volume" else None
    return replace(disk, source_type=found.kind, source=found.path, capacity_bytes=found.bytes) if found else disk


def _on_its_own(connection: Any, row: ET.Element) -> ET.Element:
    """The same `<disk>` without its pool."""
    source = row.find("source")
    if source is not None and source.get("pool"):
        found = _volume(connection, source.get("pool", ""), source.get("volume", ""))
        if found:
            source.set(found.attribute, found.path)
    return row


@dataclass(frozen=True, slots=True)
class _Volume:
    kind: str  # of a disk on it: "file", "block"
    attribute: str  # of such a disk's source
    path: str
    bytes: int  # what the pool saw when it was refreshed


def _volume(connection: Any, pool: str, name: str) -> _Volume | None:
    with suppress(libvirt.libvirtError):
        volume = connection.storagePoolLookupByName(pool).storageVolLookupByName(name)
        kind, capacity, _ = volume.info()
        return _Volume(*_KINDS[kind], str(volume.path()), int(capacity)) if kind in _KINDS else None
    return None


def _secret(connection: Any, row: ET.Element) -> bytes:
    try:
        if row.get("uuid"):
            secret = connection.secretLookupByUUIDString(row.get("uuid"))
        else:
            kinds = {
                "volume": libvirt.VIR_SECRET_USAGE_TYPE_VOLUME,
                "ceph": libvirt.VIR_SECRET_USAGE_TYPE_CEPH,
                "iscsi": libvirt.VIR_SECRET_USAGE_TYPE_ISCSI,
            }
            usage = kinds.get(row.get("type", ""), libvirt.VIR_SECRET_USAGE_TYPE_VOLUME)
            secret = connection.secretLookupByUsage(usage, row.get("usage", ""))
        return bytes(secret.value())
    except libvirt.libvirtError as error:
        raise DiskNeedsRunningVm(
            f"The VM is off, and libvirt does not tell the secret that one of its disks is encrypted with: {error}."
        ) from error
