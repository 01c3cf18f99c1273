"""Where libvirt keeps what a VM has beside its disks, read from the definition of the running VM. Pure."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from seawall.agent.members.names import NVRAM, TPM_FOLDERS, TPM_STATES

NVRAM_NOT_CAPTURED = "NVRAM_NOT_CAPTURED"
TPM_NOT_CAPTURED = "TPM_NOT_CAPTURED"
_LEFT_WITH_LIBVIRT = "SECRET_NOT_IN_POINT"

_FRESH_NVRAM = "a restored VM starts with fresh ones"
_FRESH_TPM = "keys that the guest sealed in it are not restored"


@dataclass(frozen=True, slots=True)
class StateFile:
    """One file to take. `lost`: reason of the warning when it cannot be taken; `what` and `instead` make its sentence."""

    member: str
    path: Path
    lost: str
    what: str  # "The UEFI variables"
    instead: str

    def not_captured(self, why: str) -> tuple[str, str]:
        """The warning that the point is without it."""
        return self.lost, f"{self.what} are not in this point ({why}): {self.instead}."


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Files to take, and warnings (REASON, message) about state that is in none of them."""

    files: tuple[StateFile, ...]
    warnings: tuple[tuple[str, str], ...]


def whereabouts(domain: ET.Element, vm_id: str, swtpm_dir: Path) -> Whereabouts:
    """`domain`: the live `<domain>`, which names files that the persistent one may leave to libvirt."""
    found = (*_nvram(domain), *_tpm(domain, vm_id, swtpm_dir))
    files = tuple(one for one in found if isinstance(one, StateFile))
    warnings = tuple(one for one in found if not isinstance(one, StateFile))
    return Whereabouts(files, (*warnings, *_secrets(domain)))


def wants_uefi(domain: ET.Element) -> bool:
    """Whether its firmware keeps variables in a file of its own."""
    loader = domain.find("os/loader")
    if loader is not None and loader.get("stateless") == "yes":
        return False
    flash = loader is not None and loader.get("type") == "pflash"
    return flash or domain.find("os[@firmware='efi']") is not None or domain.find("os/nvram") is not None


def _nvram(domain: ET.Element) -> tuple[StateFile | tuple[str, str], ...]:
    if not wants_uefi(domain):
        return ()
    nvram = domain.find("os/nvram")
    path = _nvram_path(nvram) if nvram is not None else ""
    file = StateFile(NVRAM, Path(path or "/"), NVRAM_NOT_CAPTURED, "The UEFI variables", _FRESH_NVRAM)
    if not path.startswith("/"):
        return (file.not_captured("libvirt names no file of this host that holds them"),)
    if nvram is not None and nvram.get("format", "raw") != "raw":
        return (file.not_captured(f"their file is of the format {nvram.get('format')}"),)
    return (file,)


def _nvram_path(nvram: ET.Element) -> str:
    source = nvram.find("source")
    return (nvram.text or "").strip() if source is None else source.get("file", "")


def _tpm(domain: ET.Element, vm_id: str, swtpm_dir: Path) -> tuple[StateFile | tuple[str, str], ...]:
    backend = domain.find("devices/tpm/backend")
    if backend is None:
        return ()
    version, source = backend.get("version", "2.0"), backend.find("source")
    folder = swtpm_dir / vm_id / TPM_FOLDERS.get(version, "tpm2")
    if source is not None and source.get("path"):
        folder = Path(source.get("path", ""))
    member = TPM_STATES.get(version, TPM_STATES["2.0"])
    path = folder if source is not None and source.get("type") == "file" else folder / member
    file = StateFile(member, path, TPM_NOT_CAPTURED, "The TPM's contents", _FRESH_TPM)
    if backend.get("type") != "emulator":
        return (file.not_captured("it is a device of the host"),)
    return (file,)


def _secrets(domain: ET.Element) -> tuple[tuple[str, str], ...]:
    """libvirt's secrets are named, never stored: who reads a point shall not open what its owner locked with another key."""
    found = []
    for disk in domain.iterfind("devices/disk"):
        target = disk.find("target")
        for secret in (*disk.iterfind("source/encryption/secret"), *disk.iterfind("encryption/secret")):
            name = "" if target is None else target.get("dev", "")
            found.append(
                (
                    _LEFT_WITH_LIBVIRT,
                    f"Disk {name} is encrypted by QEMU with the libvirt secret {_secret(secret)}, which is not in this point and is "
                    "not needed: the point holds what the guest sees, sealed by the repository's keys.",
                )
            )
    lock = domain.find("devices/tpm/backend/encryption")
    if lock is not None:
        found.append(
            (
                _LEFT_WITH_LIBVIRT,
                f"The TPM's contents are encrypted with the libvirt secret {_secret(lock)}, which is not in this point: "
                "define it on the host where the VM is to be restored.",
            )
        )
    return tuple(dict.fromkeys(found))


def _secret(element: ET.Element) -> str:
    return element.get("uuid") or element.get("usage") or element.get("secret") or "without a name"
