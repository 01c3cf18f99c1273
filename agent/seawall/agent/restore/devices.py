"""Devices of a restored VM, each rebuilt from what is known to be harmless. Pure; a device that is not known here is dropped."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from seawall.agent.hypervisor.port import Capabilities
from seawall.agent.restore.inert import attributes, copy_children, inert_copy, is_inert
from seawall.agent.restore.members import NO_FIRMWARE, FirmwareHere

_ADDRESS = frozenset(
    "type domain bus slot function multifunction controller target unit port cssid ssid devno iobase irq reg".split()
)
_CONSOLE_NAME = re.compile(r"[\w. -]{1,128}")
_INPUTS = frozenset({"mouse", "tablet", "keyboard"})
_INERT = frozenset({"controller", "sound", "watchdog", "memballoon", "panic", "iommu", "hub"})
_MAX_PASSWORD_CHARACTERS = 64
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class RestoredDisk:
    """Where a disk of the point lies now."""

    path: str
    format: str  # "raw", "qcow2"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What rebuilding devices depends on."""

    host: Capabilities
    disks: Mapping[str, RestoredDisk]  # by target
    console_dir: Path
    new_mac: Callable[[], str] | None  # None = keep the point's
    absent: Mapping[str, str] = field(
        default_factory=dict
    )  # disks that the point lacks, by target: what the backup said of them
    firmware: FirmwareHere = NO_FIRMWARE
    tpm_kept: bool = False  # the TPM's contents are put in place


Warnings = list[tuple[str, str]]
Builder = Callable[[ET.Element, Surroundings, Warnings], ET.Element | None]


def rebuild(device: ET.Element, around: Surroundings, warnings: Warnings) -> ET.Element | None:
    """The device as this host may have it; None when it is dropped (with a warning where somebody may miss it)."""
    if device.tag == "emulator":
        return None  # the host's own is put in
    if device.tag in _INERT:
        return inert_copy(device)
    builder = _BUILDERS.get(device.tag)
    if builder is None:
        warnings.append(
            ("DEVICE_DROPPED", f"A device of kind {_printable(device)} was left out: it belongs to the other host.")
        )
        return None
    return builder(device, around, warnings)


def _disk(device: ET.Element, around: Surroundings, warnings: Warnings) -> ET.Element | None:
    kind = device.get("device", "disk")
    target = device.find("target")
    name = "" if target is None else target.get("dev", "")
    if kind in ("cdrom", "floppy"):
        if device.find("source") is not None:
            warnings.append(("MEDIUM_LEFT_OUT", f"The {kind} drive {name} is empty: its medium is not in the point."))
        return _disk_shell(device, kind, None)
    if name not in around.disks:
        why = around.absent.get(name, "")
        warnings.append(("DISK_ABSENT", f"Disk {name} was left out: it is not in this point. {why}".rstrip()))
        return None
    if device.find("encryption") is not None or device.find("source/encryption") is not None:
        warnings.append(("DISK_DECRYPTED", f"Disk {name} was encrypted by QEMU; the restored file is not."))
    return _disk_shell(device, "disk", around.disks[name])


def _disk_shell(device: ET.Element, kind: str, restored: RestoredDisk | None) -> ET.Element:
    """The device with a new source; empty without one."""
    built = ET.Element("disk", type="file", device=kind)
    driver = ET.SubElement(built, "driver", name="qemu", type=restored.format if restored else "raw")
    if restored:
        old = device.find("driver")
        driver.attrib.update({} if old is None else attributes(old, ("cache", "discard", "detect_zeroes")))
        ET.SubElement(built, "source", file=restored.path)
    copy_children(
        device,
        built,
        {
            "target": ("dev", "bus", "rotation_rate", "removable"),
            "boot": ("order",),
            "blockio": ("logical_block_size", "physical_block_size"),
            "alias": ("name",),
            "address": _ADDRESS,
        },
    )
    for name in ("serial", "wwn", "vendor", "product"):
        text = device.findtext(name, "").strip()
        if text and is_inert(text):
            ET.SubElement(built, name).text = text
    if kind != "disk":
        ET.SubElement(built, "readonly")
    return built


def _interface(device: ET.Element, around: Surroundings, warnings: Warnings) -> ET.Element | None:
    mac = device.find("mac")
    address = "" if mac is None else mac.get("address", "").lower()
    if around.new_mac is not None or not _MAC.fullmatch(address):
        address = around.new_mac() if around.new_mac else ""
    kind, source = _network(device, around)
    built = ET.Element("interface", type=kind)
    if address:
        ET.SubElement(built, "mac", address=address)
    if source:
        ET.SubElement(built, "source", {kind: source, **_port_group(device, kind)})
    copy_children(device, built, {"model": ("type",), "boot": ("order",), "mtu": ("size",), "address": _ADDRESS})
    if device.find("filterref") is not None:
        message = f"The interface {address} has no network filter: filters belong to the other host."
        warnings.append(("FILTER_DROPPED", message))
    if kind == device.get("type"):
        copy_children(device, built, {"link": ("state",)})
    else:
        ET.SubElement(built, "link", state="down")
        wanted = next((row.get("network") or row.get("bridge") for row in device.iterfind("source")), None)
        warnings.append(
            (
                "NETWORK_MISSING",
                f"The interface {address} is unplugged: its network ({device.get('type')} {wanted or ''}) is not on this host; "
                "connect it with `virsh update-device`.",
            )
        )
    return built


def _network(device: ET.Element, around: Surroundings) -> tuple[str, str]:
    """Type and source that this host has; ("user", "") = QEMU's own network stack, used as a dead end."""
    kind = device.get("type", "")
    source = device.find("source")
    name = "" if source is None else source.get(kind, "")
    known = {"network": around.host.networks, "bridge": around.host.bridges}.get(kind, frozenset())
    return (kind, name) if name in known else ("user", "")


def _port_group(device: ET.Element, kind: str) -> dict[str, str]:
    """The part of a libvirt network (often a VLAN) that the interface belongs to."""
    source = device.find("source")
    return {} if kind != "network" or source is None else attributes(source, ("portgroup",))


def _video(device: ET.Element, _around: Surroundings, _warnings: Warnings) -> ET.Element | None:
    """Without 3D: the display is rebuilt without OpenGL, and QEMU would not start."""
    built = inert_copy(device)
    for model in built.iterfind("model"):
        for acceleration in model.findall("acceleration"):
            model.remove(acceleration)
    return built


def _serial(device: ET.Element, around: Surroundings, warnings: Warnings) -> ET.Element | None:
    """Serial ports and consoles: a file that is a console's log stays one, all else becomes a pseudo terminal."""
    kind = device.get("type", "")
    source = device.find("source")
    path = "" if source is None else source.get("path", "")
    if kind == "file" and is_console_file(path, around.console_dir):
        built = ET.Element(device.tag, type="file")
        ET.SubElement(built, "source", path=path, append="on")  # whatever it is, nothing of it is truncated
    else:
        built = ET.Element(device.tag, type="pty")
        if kind not in ("pty", ""):
            warnings.append(
                ("CONSOLE_CHANGED", f"A {device.tag} port of type {_value(kind)} became a pseudo terminal.")
            )
    for target in device.iterfind("target"):
        built.append(inert_copy(target))
    copy_children(device, built, {"alias": ("name",), "address": _ADDRESS})
    return built


def is_console_file(path: str, console_dir: Path) -> bool:
    """Directly in the folder, and no log that libvirt or QEMU writes itself."""
    pure = PurePosixPath(path)
    return (
        pure.parent in (PurePosixPath(console_dir), PurePosixPath(console_dir) / "qemu")
        and str(pure) == path
        and _CONSOLE_NAME.fullmatch(pure.name) is not None
        and pure.suffix != ".log"
    )


def _channel(device: ET.Element, around: Surroundings, warnings: Warnings) -> ET.Element | None:
    """The guest agent's and SPICE's; libvirt chooses the socket."""
    target = device.find("target")
    kind = device.get("type", "")
    if kind not in ("unix", "spicevmc") or target is None or target.get("type") != "virtio":
        warnings.append(
            ("DEVICE_DROPPED", f"A channel of type {_value(kind)} was left out: it belongs to the other host.")
        )
        return None
    built = ET.Element("channel", type=kind)
    ET.SubElement(built, "target", attributes(target, ("type", "name")))
    copy_children(device, built, {"address": _ADDRESS})
    return built


def _input(device: ET.Element, _around: Surroundings, warnings: Warnings) -> ET.Element | None:
    if device.get("type") in _INPUTS:
        return inert_copy(device)
    warnings.append(("DEVICE_DROPPED", f"An input device of type {_value(device.get('type', ''))} was left out."))
    return None


def _graphics(device: ET.Element, _around: Surroundings, warnings: Warnings) -> ET.Element | None:
    """On this host's loopback alone, on a free port; what had a password keeps it."""
    if device.get("type") not in ("vnc", "spice"):
        warnings.append(("DEVICE_DROPPED", f"A display of type {_value(device.get('type', ''))} was left out."))
        return None
    built = ET.Element("graphics", type=device.get("type", ""), autoport="yes", listen="127.0.0.1")
    password = device.get("passwd", "")
    if password.isprintable() and 0 < len(password) <= _MAX_PASSWORD_CHARACTERS:
        built.attrib.update(attributes(device, ("passwdValidTo",)), passwd=password)
    ET.SubElement(built, "listen", type="address", address="127.0.0.1")
    return built


def _audio(device: ET.Element, _around: Surroundings, _warnings: Warnings) -> ET.Element | None:
    """libvirt adds one to every VM with a display; the host's loudspeakers are not for restored guests."""
    kind = "spice" if device.get("type") == "spice" else "none"
    return ET.Element("audio", {**attributes(device, ("id",)), "type": kind})


def _redirection(device: ET.Element, _around: Surroundings, warnings: Warnings) -> ET.Element | None:
    """USB over the SPICE display; other ways name sockets and devices of a host."""
    if device.get("type") != "spicevmc":
        warnings.append(("DEVICE_DROPPED", "A USB redirection of the other host was left out."))
        return None
    built = ET.Element("redirdev", bus="usb", type="spicevmc")
    copy_children(device, built, {"address": _ADDRESS})
    return built


def _vsock(_device: ET.Element, _around: Surroundings, _warnings: Warnings) -> ET.Element | None:
    built = ET.Element("vsock", model="virtio")
    ET.SubElement(built, "cid", auto="yes")
    return built


def _rng(device: ET.Element, _around: Surroundings, _warnings: Warnings) -> ET.Element | None:
    built = ET.Element("rng", model="virtio")
    copy_children(device, built, {"rate": ("bytes", "period")})
    ET.SubElement(built, "backend", model="random").text = "/dev/urandom"
    copy_children(device, built, {"address": _ADDRESS})
    return built


def _tpm(device: ET.Element, around: Surroundings, warnings: Warnings) -> ET.Element | None:
    backend = device.find("backend")
    if backend is None or backend.get("type") != "emulator":
        warnings.append(("DEVICE_DROPPED", "A TPM passed through from the other host was left out."))
        return None
    if not around.tpm_kept:
        warnings.append(
            (
                "TPM_FRESH",
                "The TPM starts empty: secrets that the guest sealed in it (disk keys) must be entered again.",
            )
        )
    built = ET.Element("tpm", attributes(device, ("model",)))
    emulator = ET.SubElement(built, "backend", {"type": "emulator", **attributes(backend, ("version",))})
    if around.tpm_kept:
        copy_children(backend, emulator, {"encryption": ("secret",)})
    return built


def _printable(element: ET.Element) -> str:
    return _value(element.tag if isinstance(element.tag, str) else "")


def _value(text: str) -> str:
    """Hostile text for a message."""
    return repr(text[:64])


_BUILDERS: Mapping[str, Builder] = {
    "disk": _disk,
    "interface": _interface,
    "video": _video,
    "serial": _serial,
    "console": _serial,
    "channel": _channel,
    "input": _input,
    "graphics": _graphics,
    "audio": _audio,
    "redirdev": _redirection,
    "vsock": _vsock,
    "rng": _rng,
    "tpm": _tpm,
}
