"""Rewriting a point's domain XML for this host. The XML is hostile: the result is built anew from a short list of what may stay. Pure.

Dropped without exception: emulator and firmware paths, direct kernel boot, passed-through and shared host devices, QEMU options, security
labels, pinning and huge pages, passwords, metadata.
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass

from seawall.agent.errors import RestoreRefused
from seawall.agent.hypervisor.xml import parse, render
from seawall.agent.members.whereabouts import wants_uefi
from seawall.agent.restore.devices import Surroundings, Warnings, rebuild
from seawall.agent.restore.inert import attributes, inert_copy
from seawall.agent.restore.members import FirmwareHere

_INERT_TOP = frozenset({"features", "clock", "pm"})
_TEXT_TOP: Mapping[str, tuple[str, ...]] = {
    "memory": ("unit",),
    "currentMemory": ("unit",),
    "vcpu": ("current",),
    "on_poweroff": (),
    "on_reboot": (),
    "on_crash": (),
}
_BORING_TOP = frozenset(
    "name uuid title description metadata genid devices os cpu sysinfo vcpus iothreads maxMemory".split()
)
_DIRECT_BOOT = frozenset({"kernel", "initrd", "cmdline", "dtb", "init", "initarg"})
_SYSINFO = frozenset({"bios", "system", "baseBoard", "chassis", "oemStrings"})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the restored VM is."""

    name: str
    vm_id: str
    is_new: bool  # then its SMBIOS UUID and MAC addresses are new too


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What to define, and what the operator should know about it."""

    xml: str
    warnings: tuple[tuple[str, str], ...]


def machine_of(text: str) -> tuple[str, str]:
    """Architecture and machine type that the VM asks for. Raises XmlRefused, RestoreRefused."""
    kind = _domain(text).find("os/type")
    if kind is None or (kind.text or "").strip() != "hvm":
        raise RestoreRefused("The point's definition is not of a fully virtualised VM.", reason="DEFINITION_UNUSABLE")
    return kind.get("arch", ""), kind.get("machine", "")


def rewrite(text: str, identity: Identity, around: Surroundings) -> Rewritten:
    """The definition for this host. Raises XmlRefused, RestoreRefused."""
    old = _domain(text)
    arch, _ = machine_of(text)
    warnings: Warnings = []
    emulated = old.get("type") == "kvm" and arch not in around.host.kvm_arches
    new = ET.Element("domain", type="kvm" if old.get("type") == "kvm" and not emulated else "qemu")
    ET.SubElement(new, "name").text = identity.name
    ET.SubElement(new, "uuid").text = identity.vm_id
    for child in old:
        if child.tag in _TEXT_TOP:
            ET.SubElement(new, child.tag, attributes(child, _TEXT_TOP[child.tag])).text = (child.text or "").strip()
        elif child.tag in _INERT_TOP:
            new.append(inert_copy(child))
        elif child.tag not in _BORING_TOP:
            warnings.append(
                (
                    "ELEMENT_DROPPED",
                    f"{str(child.tag)[:64]!r} of the definition was left out: it belongs to the other host.",
                )
            )
    new.append(_os(old, around.firmware, warnings))
    _add_sysinfo(old, new, identity)
    _add_cpu(old, new, emulated, warnings)
    new.append(_devices(old, arch, around, warnings))
    return Rewritten(render(new), tuple(warnings))


def _domain(text: str) -> ET.Element:
    root = parse(text)
    if root.tag != "domain":
        raise RestoreRefused("The point's definition is not a <domain>.", reason="DEFINITION_UNUSABLE")
    return root


def _os(domain: ET.Element, firmware: FirmwareHere, warnings: Warnings) -> ET.Element:
    """Machine, boot order and firmware: this host's own of the kind that wrote the point's variables, else what libvirt chooses."""
    new, old = ET.Element("os"), domain.find("os")
    if old is None:
        return new
    kind = ET.SubElement(
        new, "type", {k: v for row in old.iterfind("type") for k, v in attributes(row, ("arch", "machine")).items()}
    )
    kind.text = "hvm"
    if wants_uefi(domain) or old.get("firmware") == "efi":
        _add_uefi(old, new, firmware, warnings)
    for child in old:
        if child.tag in ("boot", "bootmenu", "bios", "smbios"):
            new.append(inert_copy(child))
        elif child.tag in _DIRECT_BOOT:
            warnings.append(
                ("DIRECT_BOOT_DROPPED", f"<{child.tag}> was left out: files outside the disks are not in the point.")
            )
    return new


def _add_uefi(old: ET.Element, new: ET.Element, firmware: FirmwareHere, warnings: Warnings) -> None:
    secure = {"secure": "yes"} if old.find("loader[@secure='yes']") is not None else {}
    if firmware.loader is not None:
        flash = {"readonly": "yes", "type": "pflash"}
        ET.SubElement(new, "loader", flash | secure).text = firmware.loader
    else:
        new.set("firmware", "efi")
        new.extend(inert_copy(row) for row in old.iterfind("firmware"))
        if secure:
            ET.SubElement(new, "loader", secure)
    if firmware.nvram is not None:
        ET.SubElement(new, "nvram").text = str(firmware.nvram)
        return
    why = f" ({firmware.why_fresh})" if firmware.why_fresh else ""
    warnings.append(("NVRAM_FRESH", f"UEFI variables (boot entries) start from this host's template{why}."))


def _add_sysinfo(old: ET.Element, new: ET.Element, identity: Identity) -> None:
    """SMBIOS texts (licences look at them); never fw_cfg, which reads the host's files."""
    for info in old.iterfind("sysinfo[@type='smbios']"):
        copied = ET.SubElement(new, "sysinfo", type="smbios")
        for part in info:
            if part.tag in _SYSINFO:
                copied.append(inert_copy(part))
        if identity.is_new:
            for system in copied.iterfind("system"):
                for entry in system.findall("entry[@name='uuid']"):
                    system.remove(entry)


def _add_cpu(old: ET.Element, new: ET.Element, emulated: bool, warnings: Warnings) -> None:
    """Emulation knows no host CPU, so there its default is taken."""
    cpu = old.find("cpu")
    if emulated:
        warnings.append(
            ("EMULATED", "This host offers no KVM: the VM runs in software emulation, slowly, with a plain CPU.")
        )
    elif cpu is not None:
        new.append(inert_copy(cpu))


def _devices(old: ET.Element, arch: str, around: Surroundings, warnings: Warnings) -> ET.Element:
    new = ET.Element("devices")
    emulator = around.host.emulators.get(arch)
    if emulator:
        ET.SubElement(new, "emulator").text = emulator
    for device in old.iterfind("devices/*"):
        built = rebuild(device, around, warnings)
        if built is not None:
            new.append(built)
    return new
