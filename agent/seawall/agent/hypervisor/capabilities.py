"""Reading a host's abilities out of libvirt's `<capabilities>` and `<domainCapabilities>`. Pure."""

import xml.etree.ElementTree as ET

from seawall.agent.hypervisor.xml import parse


def host_arch(capabilities: str) -> str:
    """ "x86_64"; "" when libvirt does not say."""
    return parse(capabilities).findtext("host/cpu/arch", "")


def kvm_arches(capabilities: str) -> frozenset[str]:
    """Architectures that libvirt offers with KVM. It looks at /dev/kvm alone, which may exist and not work."""
    return frozenset(
        arch.get("name", "") for arch in _arches(capabilities) if arch.find("domain[@type='kvm']") is not None
    )


def emulators(capabilities: str) -> dict[str, str]:
    """arch -> path of the host's own emulator."""
    return {arch.get("name", ""): arch.findtext("emulator", "") for arch in _arches(capabilities)}


def machines(capabilities: str) -> dict[str, frozenset[str]]:
    """arch -> machine types and the aliases that stand for them."""
    return {arch.get("name", ""): _machine_names(arch) for arch in _arches(capabilities)}


def qemu_owner(capabilities: str) -> tuple[int, int] | None:
    """The uid and gid that QEMU runs as, from the DAC security model's base label ("+64055:+107")."""
    for model in parse(capabilities).iterfind("host/secmodel"):
        if model.findtext("model") == "dac":
            return _owner(model.findtext("baselabel[@type='kvm']") or model.findtext("baselabel") or "")
    return None


def offers_uefi(domain_capabilities: str) -> bool:
    """Whether libvirt finds a UEFI firmware by itself (`<os firmware='efi'>`)."""
    rows = parse(domain_capabilities).iterfind("os/enum[@name='firmware']/value")
    return any(row.text == "efi" for row in rows)


def loaders(domain_capabilities: str) -> tuple[str, ...]:
    """Paths of the firmware that libvirt offers."""
    rows = parse(domain_capabilities).iterfind("os/loader/value")
    return tuple(row.text for row in rows if row.text)


def emulates_tpm(domain_capabilities: str) -> bool:
    """Whether swtpm is there."""
    rows = parse(domain_capabilities).iterfind("devices/tpm[@supported='yes']/enum[@name='backendModel']/value")
    return any(row.text == "emulator" for row in rows)


def _arches(capabilities: str) -> list[ET.Element]:
    return [
        arch
        for guest in parse(capabilities).iterfind("guest")
        if guest.findtext("os_type") == "hvm"
        for arch in guest.iterfind("arch")
    ]


def _machine_names(arch: ET.Element) -> frozenset[str]:
    names: set[str] = set()
    for machine in arch.iter("machine"):
        names.add(machine.text or "")
        names.add(machine.get("canonical", ""))
    return frozenset(names - {""})


def _owner(label: str) -> tuple[int, int] | None:
    user, _, group = label.partition(":")
    try:
        return int(user), int(group)
    except ValueError:
        return None
