"""Hosts, their sessions and the VMs that they report. All times are microseconds since 1970 UTC; 0 means never."""

from collections.abc import Collection
from dataclasses import dataclass

from seawall.controller.records.limits import Service


@dataclass(frozen=True, slots=True)
class Host:
    """A hypervisor machine: the host's id is its agent's enrolment. `generation` grows when its desired set changes.

    `site`: an operator's word for where it stands, which limits may name.
    """

    id: str
    name: str
    agent_version: str
    hypervisor_version: str
    generation: int
    certificate_expires_us: int
    revoked: bool
    site: str = ""
    service: Service = Service.IN_SERVICE


@dataclass(frozen=True, slots=True)
class Session:
    """One start of an agent's supervisor. The lease says until when the host counts as online."""

    agent_id: str
    session_id: str
    boot_id: str
    lease_until_us: int
    last_seen_us: int


@dataclass(frozen=True, slots=True)
class VmDisk:
    """`storages`: what holds its bytes, as its agent names them (resources.proto); () where the agent does not tell."""

    disk: str
    size_bytes: int
    format: str
    source: str
    read_only: bool
    device: str
    storages: tuple[str, ...] = ()

    @property
    def is_captured(self) -> bool:
        """A hard disk: neither a CD nor a floppy."""
        return self.device in ("", "disk", "lun")


@dataclass(frozen=True, slots=True)
class Vm:
    """A libvirt domain. `present`: its host's last inventory named it. `tags`: from the metadata of its definition."""

    id: str
    name: str
    host_id: str
    state: str
    disks: tuple[VmDisk, ...]
    last_seen_us: int
    present: bool
    tags: tuple[str, ...] = ()

    def disks_without(self, excluded: Collection[str]) -> list[VmDisk]:
        """What a backup holds that leaves these out."""
        return [disk for disk in self.disks if disk.is_captured and disk.disk not in excluded]


@dataclass(frozen=True, slots=True)
class News:
    """What an inventory changed. `taken`: ids of VMs that were another host's until now. `changed`: anything but when it was seen."""

    taken: tuple[str, ...]
    changed: bool
