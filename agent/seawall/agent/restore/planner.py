"""Planning a restore before a byte is copied: where everything goes, or what is in the way and how to get past it. Pure."""

import hashlib
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from seawall.agent.errors import RestoreRefused
from seawall.agent.hypervisor.port import Capabilities, Domain
from seawall.agent.hypervisor.xml import mac_addresses, parse
from seawall.agent.restore.clash import Clash
from seawall.agent.restore.devices import RestoredDisk, Surroundings
from seawall.agent.restore.domain import Identity, machine_of, rewrite
from seawall.agent.restore.members import (
    NO_FACTS,
    NO_MEMBERS,
    MemberFacts,
    PlannedMember,
    member_places,
    plan_members,
)
from seawall.agent.restore.port import RestoreRequest
from seawall.agent.restore.settings import RestoreSettings
from seawall.repository.format.manifest import DiskManifest

MAX_NAME_BYTES = 251
"""`NAME.xml` is a file of libvirt's."""

MAX_STEM_BYTES = 200
MAX_PART_BYTES = 255
MAX_PATH_BYTES = 4000
_UNSAFE = frozenset("/\\\0")
_LEFT_OUT = re.compile(r"Disk (?P<target>\S{1,64}) is not in this point: (?P<why>.{1,200})")


@dataclass(frozen=True, slots=True)
class PlannedDisk:
    """One disk to be made. `path` does not exist yet."""

    target: str
    path: Path
    format: str  # "raw", "qcow2"
    size_bytes: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the plan depends on."""

    capabilities: Capabilities
    domains: Sequence[Domain]
    existing: Collection[Path]  # of the planned paths, those that exist
    free_bytes: Mapping[Path, int]  # of the planned folders
    members: MemberFacts = NO_FACTS


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What will be made. `xml` "" = files only."""

    disks: tuple[PlannedDisk, ...]
    identity: Identity
    xml: str
    warnings: tuple[tuple[str, str], ...]
    members: tuple[PlannedMember, ...] = ()

    @property
    def files(self) -> tuple[PlannedDisk | PlannedMember, ...]:
        """All that gets a name at the end."""
        return (*self.disks, *self.members)


def choose_disks(request: RestoreRequest, settings: RestoreSettings) -> tuple[PlannedDisk, ...]:
    """Which disks go where. Raises RestoreRefused when a wanted disk is not in the point, or a name cannot be a file's."""
    _check_names(request)
    if request.disks:
        known = {one.disk: one for one in request.root.disks}
        missing = [target for target in request.disks if target not in known]
        if missing:
            raise RestoreRefused(
                f"The point has no disk {', '.join(missing)}; it has {', '.join(known)}.", reason="DISK_NOT_IN_POINT"
            )
        folder = _folder(request, settings)
        wanted = dict.fromkeys(request.disks)
        return tuple(_planned(known[target], folder / _file_name(target, known[target])) for target in wanted)
    return tuple(_planned(one, _path_for(one, request, settings)) for one in request.root.disks)


def plan_restore(
    request: RestoreRequest,
    disks: Sequence[PlannedDisk],
    identity: Identity,
    facts: HostFacts,
    settings: RestoreSettings,
    new_mac: Callable[[], str],
) -> RestorePlan | tuple[Clash, ...]:
    """The plan, or everything that is in its way at once. Raises XmlRefused, RestoreRefused for an unusable definition."""
    clashes = _file_clashes(disks, facts)
    warnings = _space_warnings(disks, facts)
    xml, members = "", NO_MEMBERS
    if not request.disks:
        places = member_places(request, identity.name, identity.vm_id, settings)
        members = plan_members(request, places, facts.members, is_new=identity.is_new)
        clashes += [*_vm_clashes(request, identity, facts), *members.clashes]
        rewritten = rewrite(
            request.domain_xml,
            identity,
            Surroundings(
                host=facts.capabilities,
                disks={one.target: RestoredDisk(str(one.path), one.format) for one in disks},
                console_dir=settings.console_dir,
                new_mac=new_mac if identity.is_new else None,
                absent=_absent(request.root.warnings),
                firmware=members.firmware,
                tpm_kept=members.tpm_kept,
            ),
        )
        xml, warnings = rewritten.xml, (*warnings, *rewritten.warnings, *members.warnings)
    return tuple(clashes) or RestorePlan(tuple(disks), identity, xml, warnings, members.files)


def _absent(warnings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """What the backup said of disks that it left out, in its own words: "Disk vdb is not in this point: it is read-only, …"."""
    found = (_LEFT_OUT.fullmatch(message) for reason, message in warnings if reason.startswith("DISK_"))
    return {
        match["target"]: f"The backup said: {match['why']}" for match in found if match and match["why"].isprintable()
    }


def _check_names(request: RestoreRequest) -> None:
    for name in (request.vm_name or request.root.vm_name, *(one.disk for one in request.root.disks)):
        if (
            not name
            or _UNSAFE & set(name)
            or len(name.encode()) > MAX_NAME_BYTES
            or not name.isprintable()
            or name in (".", "..")
        ):
            raise RestoreRefused(
                f"{name[:80]!r} cannot be part of a file's name.",
                reason="NAME_UNUSABLE",
                next_step="Restore it under another name: --as NAME.",
            )
    if request.directory and not _is_usable(PurePosixPath(request.directory)):
        raise RestoreRefused(
            f"{request.directory[:80]!r} is not an absolute path in one line, or too long.",
            reason="DIRECTORY_UNUSABLE",
            next_step="Give a folder that begins with a slash: --directory DIR.",
        )


def _is_usable(path: PurePosixPath) -> bool:
    """Whether such a file or folder can be: absolute, without control characters, no longer than Linux takes."""
    return (
        path.is_absolute()
        and all(len(os.fsencode(part)) <= MAX_PART_BYTES for part in path.parts)
        and len(os.fsencode(path)) <= MAX_PATH_BYTES
        and not any(character < " " or character == "\x7f" for character in str(path))
    )


def _planned(disk: DiskManifest, path: Path) -> PlannedDisk:
    return PlannedDisk(disk.disk, path, _format(disk), disk.size_bytes)


def _format(disk: DiskManifest) -> str:
    return "raw" if disk.format == "raw" else "qcow2"


def _file_name(stem: str, disk: DiskManifest) -> str:
    return f"{stem}.{_format(disk)}"


def _stem(name: str, target: str) -> str:
    """`<VM>-<disk>`; of a name that is too long for a file's its beginning, and a hash that tells it from others."""
    whole = f"{name}-{target}"
    if len(whole.encode()) <= MAX_STEM_BYTES:
        return whole
    digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
    ending = f"-{digest}-{target}"
    beginning = name.encode()[: MAX_STEM_BYTES - len(ending.encode())].decode(errors="ignore")
    return f"{beginning}{ending}"


def _folder(request: RestoreRequest, settings: RestoreSettings) -> Path:
    return Path(request.directory) if request.directory else settings.images_dir


def _path_for(disk: DiskManifest, request: RestoreRequest, settings: RestoreSettings) -> Path:
    """The point's own path, if it may be used again and the VM keeps its name; else `<folder>/<VM>-<disk>.<format>`."""
    name = request.vm_name or request.root.vm_name
    pure = PurePosixPath(disk.source)
    may_stay = (
        not request.directory
        and name == request.root.vm_name
        and disk.format in ("raw", "qcow2")
        and ".." not in pure.parts
        and _is_usable(pure)
        and disk.source.isprintable()
        and any(folder in Path(pure).parents for folder in settings.trusted_dirs)
    )
    return Path(pure) if may_stay else _folder(request, settings) / _file_name(_stem(name, disk.disk), disk)


def _file_clashes(disks: Sequence[PlannedDisk], facts: HostFacts) -> list[Clash]:
    used = {disk.source: domain.name for domain in facts.domains for disk in domain.disks}
    paths = [one.path for one in disks]
    clashes = []
    for number, one in enumerate(disks):
        if str(one.path) in used:
            clashes.append(
                Clash(
                    "FILE_IN_USE",
                    f"{one.path} is a disk of the VM {used[str(one.path)]!r}.",
                    "Give another name or folder: --as NAME, --directory DIR.",
                )
            )
        elif one.path in facts.existing:
            clashes.append(
                Clash(
                    "FILE_EXISTS",
                    f"{one.path} exists.",
                    "Give another name or folder (--as NAME, --directory DIR), or move that file away.",
                )
            )
        elif one.path in paths[:number]:
            clashes.append(
                Clash("FILE_TWICE", f"Two disks of the point lie at {one.path}.", "Give a folder: --directory DIR.")
            )
    return clashes


def _space_warnings(disks: Sequence[PlannedDisk], facts: HostFacts) -> tuple[tuple[str, str], ...]:
    """A warning only: the files are sparse, and how much of the disks is data is not known before reading."""
    needed: dict[Path, int] = {}
    for one in disks:
        needed[one.path.parent] = needed.get(one.path.parent, 0) + one.size_bytes
    return tuple(
        ("SPACE_TIGHT", f"{folder} has {facts.free_bytes[folder]} bytes free; the disks may grow to {size} bytes.")
        for folder, size in needed.items()
        if folder in facts.free_bytes and facts.free_bytes[folder] < size
    )


def _vm_clashes(request: RestoreRequest, identity: Identity, facts: HostFacts) -> list[Clash]:
    clashes = []
    if any(domain.name == identity.name for domain in facts.domains):
        clashes.append(
            Clash(
                "NAME_TAKEN",
                f"A VM named {identity.name!r} is on this host.",
                "Restore it under another name: --as NAME.",
            )
        )
    for domain in facts.domains:
        if domain.vm_id == identity.vm_id:
            clashes.append(
                Clash(
                    "UUID_TAKEN",
                    f"The VM {domain.name!r} has the UUID {identity.vm_id}.",
                    "Give it a new UUID and new MAC addresses: --new-identity, or --as NAME.",
                )
            )
    if not identity.is_new:
        clashes += _mac_clashes(request, facts)
    return clashes + _machine_clashes(request, facts.capabilities)


def _mac_clashes(request: RestoreRequest, facts: HostFacts) -> list[Clash]:
    owners = facts.capabilities.mac_owners
    return [
        Clash(
            "MAC_TAKEN",
            f"The VM {owners[mac]!r} has the MAC address {mac}.",
            "Give it a new UUID and new MAC addresses: --new-identity, or --as NAME.",
        )
        for mac in mac_addresses(parse(request.domain_xml))
        if mac in owners
    ]


def _machine_clashes(request: RestoreRequest, host: Capabilities) -> list[Clash]:
    arch, machine = machine_of(request.domain_xml)
    if arch not in host.emulators:
        return [
            Clash(
                "ARCH_MISSING", f"This host cannot run {arch[:32]!r} VMs.", "Install that QEMU, or choose another host."
            )
        ]
    if machine and machine not in host.machines.get(arch, frozenset()):
        return [
            Clash(
                "MACHINE_MISSING",
                f"This host's QEMU does not know the machine type {machine[:64]!r}.",
                "Choose a host with the same or a newer QEMU.",
            )
        ]
    return []
