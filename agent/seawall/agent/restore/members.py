"""Where a point's members go on this host: UEFI variables and TPM contents of the restored VM, or why they cannot. Pure.

The member's bytes are hostile, but nothing here looks into them: they are for the guest's firmware and for swtpm, as they were before.
"""

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from seawall.agent.hypervisor.port import FirmwareOffer, Loader
from seawall.agent.hypervisor.xml import parse
from seawall.agent.members.names import NVRAM, TPM_FOLDERS, TPM_STATES
from seawall.agent.members.whereabouts import wants_uefi
from seawall.agent.restore.clash import Clash
from seawall.agent.restore.port import RestoreRequest
from seawall.agent.restore.settings import RestoreSettings

MAX_NVRAM_NAME_BYTES = 200

Owner = tuple[int, int]
Warnings = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PlannedMember:
    """A file to be made, readable by its owner alone. `path` does not exist yet."""

    name: str
    path: Path
    owner: Owner | None
    own_folder: bool  # the folder is the owner's too, and for nobody else


@dataclass(frozen=True, slots=True)
class FirmwareHere:
    """What the restored definition says of UEFI. `loader` None: libvirt chooses one."""

    nvram: Path | None
    loader: str | None
    why_fresh: str = ""  # said where there is no `nvram`


@dataclass(frozen=True, slots=True)
class MembersPlan:
    """`tpm_kept`: the TPM's contents are put in place."""

    files: tuple[PlannedMember, ...]
    firmware: FirmwareHere
    tpm_kept: bool
    clashes: tuple[Clash, ...]
    warnings: Warnings


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """What the plan depends on. `offer` None: this host has no such VMs at all, which is another clash."""

    offer: FirmwareOffer | None
    existing: Collection[Path]  # of the places, those where something lies
    qemu_owner: Owner | None
    tpm_owner: Owner | None


NO_FACTS = MemberFacts(None, (), None, None)
NO_FIRMWARE = FirmwareHere(None, None)
NO_MEMBERS = MembersPlan((), NO_FIRMWARE, False, (), ())


def member_places(request: RestoreRequest, name: str, vm_id: str, settings: RestoreSettings) -> dict[str, Path]:
    """Member -> its file on this host, for those that the VM has a use for. `name`, `vm_id`: of the restored VM."""
    places = {}
    domain = parse(request.domain_xml)
    if NVRAM in request.members and wants_uefi(domain):
        places[NVRAM] = settings.nvram_dir / _nvram_name(name)
    version = _tpm_version(domain)
    if version and TPM_STATES[version] in request.members:
        state = TPM_STATES[version]
        places[state] = settings.swtpm_dir / vm_id / TPM_FOLDERS[version] / state
    return places


def needs_firmware(request: RestoreRequest) -> bool:
    """Whether what the host offers for UEFI and TPMs matters to this VM."""
    domain = parse(request.domain_xml)
    return wants_uefi(domain) or bool(_tpm_version(domain))


def plan_members(request: RestoreRequest, places: dict[str, Path], facts: MemberFacts, *, is_new: bool) -> MembersPlan:
    """`places`: from `member_places`."""
    domain = parse(request.domain_xml)
    firmware = _firmware(request, domain, places, facts)
    kept = {name: path for name, path in places.items() if name != NVRAM or firmware.nvram is not None}
    tpm = [name for name in kept if name != NVRAM]
    files = tuple(
        PlannedMember(name, path, facts.qemu_owner if name == NVRAM else facts.tpm_owner, name != NVRAM)
        for name, path in kept.items()
    )
    clashes = (*_host_clashes(domain, facts.offer, bool(tpm)), *_place_clashes(files, facts.existing))
    return MembersPlan(files, firmware, bool(tpm), tuple(clashes), _clone_warnings(is_new and bool(tpm)))


def _firmware(request: RestoreRequest, domain: ET.Element, places: dict[str, Path], facts: MemberFacts) -> FirmwareHere:
    """Variables belong to the build of the firmware that wrote them: another one takes them for garbage."""
    if not wants_uefi(domain):
        return NO_FIRMWARE
    if NVRAM not in places:
        return FirmwareHere(None, None, "the point has none")
    named = (domain.findtext("os/loader") or "").strip()
    if not named:
        return FirmwareHere(places[NVRAM], None)
    loader = _same_loader(named, len(request.members[NVRAM]), facts.offer.loaders if facts.offer else ())
    if loader is None:
        build = PurePosixPath(named).name[:64]
        return FirmwareHere(None, None, f"the point's belong to the firmware {build!r}, which this host does not have")
    return FirmwareHere(places[NVRAM], loader.path)


def _same_loader(named: str, nvram_bytes: int, loaders: Sequence[Loader]) -> Loader | None:
    """The host's firmware of the same path, else of the same name; code and variables fill their flash together."""
    fitting = [one for one in loaders if _is_power_of_two(one.size_bytes + nvram_bytes)]
    same_path = [one for one in fitting if one.path == named]
    same_name = [one for one in fitting if PurePosixPath(one.path).name == PurePosixPath(named).name]
    return next(iter((*same_path, *same_name)), None)


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _host_clashes(domain: ET.Element, offer: FirmwareOffer | None, tpm_kept: bool) -> list[Clash]:
    if offer is None:
        return []
    clashes = []
    if wants_uefi(domain) and not offer.uefi:
        clashes.append(
            Clash(
                "FIRMWARE_MISSING",
                "The VM starts by UEFI, and this host has no UEFI firmware.",
                "Install it there (Debian: ovmf; Red Hat: edk2-ovmf; ARM: qemu-efi-aarch64), or choose another host.",
            )
        )
    if _tpm_version(domain) and not offer.emulated_tpm:
        clashes.append(
            Clash(
                "TPM_MISSING",
                "The VM has an emulated TPM, and this host has no swtpm.",
                "Install it there (packages swtpm and swtpm-tools), or choose another host.",
            )
        )
    lock = domain.find("devices/tpm/backend/encryption")
    if tpm_kept and lock is not None and lock.get("secret", "").lower() not in offer.secrets:
        clashes.append(
            Clash(
                "SECRET_MISSING",
                f"The TPM's contents are encrypted with the libvirt secret {lock.get('secret', '')[:64]!r}, which this host does not have.",
                "Define that secret there (`virsh secret-define`, `virsh secret-set-value`): a point holds no secrets of libvirt.",
            )
        )
    return clashes


def _place_clashes(files: Sequence[PlannedMember], existing: Collection[Path]) -> list[Clash]:
    return [
        Clash(
            "TPM_STATE_EXISTS" if one.own_folder else "FILE_EXISTS",
            f"{one.path} exists." if not one.own_folder else f"{one.path.parent} holds the contents of a TPM.",
            "Move that away, or restore it under another name and identity: --as NAME.",
        )
        for one in files
        if one.path in existing
    ]


def _clone_warnings(cloned: bool) -> Warnings:
    if not cloned:
        return ()
    message = "The TPM of this VM is a copy: it holds the same keys as that of the original. What must tell both apart needs new ones."
    return (("TPM_CLONED", message),)


def _tpm_version(domain: ET.Element) -> str:
    """Of an emulated TPM; "" without one, or of a version that nobody knows."""
    backend = domain.find("devices/tpm/backend[@type='emulator']")
    version = "" if backend is None else backend.get("version", "2.0")
    return version if version in TPM_STATES else ""


def _nvram_name(name: str) -> str:
    whole = f"{name}_VARS.fd"
    if len(whole.encode()) <= MAX_NVRAM_NAME_BYTES:
        return whole
    digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
    beginning = name.encode()[: MAX_NVRAM_NAME_BYTES - 17].decode(errors="ignore")
    return f"{beginning}-{digest}_VARS.fd"
