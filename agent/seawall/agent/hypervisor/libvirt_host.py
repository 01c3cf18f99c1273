"""What the libvirt adapter asks of a whole host, within a call that has a deadline. Raises libvirtError, and what is named."""

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import libvirt

from seawall.agent.errors import RestoreRefused
from seawall.agent.hypervisor import capabilities as read
from seawall.agent.hypervisor import xml
from seawall.agent.hypervisor.libvirt_domain import described
from seawall.agent.hypervisor.libvirt_errors import mapped
from seawall.agent.hypervisor.port import Capabilities, Domain, FirmwareOffer, Loader

EVENT_PAUSE_MS = 1000
KEEPALIVE_SECONDS, KEEPALIVE_TRIES = 5, 3
_LEFT = (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED)


def version(connection: Any) -> str:
    return f"libvirt {_dotted(connection.getLibVersion())}, QEMU {_dotted(connection.getVersion())}"


def _dotted(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def present(domains: Sequence[Any]) -> list[Domain]:
    """Those that are still there when asked."""
    found = []
    for domain in domains:
        try:
            found.append(described(domain))
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
    return found


def identity(text: str) -> tuple[str, str]:
    """Name and UUID in a `<domain>`; the UUID is "" when libvirt shall make one."""
    root = xml.parse(text)
    vm_id = root.findtext("uuid", "").strip()
    try:
        return root.findtext("name", ""), str(uuid.UUID(vm_id)) if vm_id else ""
    except ValueError as error:
        raise RestoreRefused(f"The VM's definition has a malformed UUID: {vm_id!r}.") from error


def define(connection: Any, text: str, name: str, vm_id: str) -> str:
    if _known(connection.lookupByName, name) or (vm_id and _known(connection.lookupByUUIDString, vm_id)):
        raise RestoreRefused(
            f"A VM named {name!r} or with UUID {vm_id} exists on this host; it is not redefined.",
            reason="VM_EXISTS",
            next_step="Restore under another name with a new identity.",
        )
    return str(connection.defineXML(text).UUIDString())


def _known(lookup: Callable[[str], Any], key: str) -> bool:
    try:
        lookup(key)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return False
        raise
    return True


def capabilities(connection: Any) -> Capabilities:
    text = connection.getCapabilities()
    return Capabilities(
        host_arch=read.host_arch(text),
        kvm_arches=read.kvm_arches(text),
        emulators=read.emulators(text),
        machines=read.machines(text),
        networks=frozenset(network.name() for network in connection.listAllNetworks()),
        bridges=frozenset(path.parent.name for path in Path("/sys/class/net").glob("*/bridge")),
        mac_owners=_mac_owners(connection),
        qemu_owner=read.qemu_owner(text),
    )


def firmware(connection: Any, arch: str, machine: str) -> FirmwareOffer:
    text = connection.getDomainCapabilities(None, arch, machine or None, "qemu")
    paths = [(path, Path(path)) for path in read.loaders(text)]
    return FirmwareOffer(
        uefi=read.offers_uefi(text),
        loaders=tuple(Loader(name, path.stat().st_size) for name, path in paths if path.is_file()),
        emulated_tpm=read.emulates_tpm(text),
        secrets=frozenset(secret.UUIDString() for secret in connection.listAllSecrets()),
    )


def prepare_events() -> None:
    """Once a process, before its first connection: from then on somebody must call `await_events` all the time."""
    libvirt.virEventRegisterDefaultImpl()
    libvirt.virEventAddTimeout(EVENT_PAUSE_MS, lambda _timer, _opaque: None, None)


def await_events() -> None:
    """Let what happened be heard; returns after a second at most."""
    libvirt.virEventRunDefaultImpl()


def listened_to(uri: str, on_departure: Callable[[str], None], on_start: Callable[[str], None]) -> Any:
    """A connection over which is told of each VM that leaves by migration, or that starts here, however it came. Raises HypervisorError."""

    def heard(_connection: Any, domain: Any, event: int, detail: int, _opaque: object) -> None:
        if (event, detail) == _LEFT:
            on_departure(str(domain.UUIDString()))
        elif event == libvirt.VIR_DOMAIN_EVENT_STARTED:
            on_start(str(domain.UUIDString()))

    try:
        connection = libvirt.open(uri)
        connection.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_TRIES)
        connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, heard, None)
    except libvirt.libvirtError as error:
        raise mapped(error) from error
    return connection


def is_alive(connection: Any) -> bool:
    """Whether the daemon has not hung up, as far as is known."""
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def _mac_owners(connection: Any) -> dict[str, str]:
    owners: dict[str, str] = {}
    for domain in connection.listAllDomains():
        try:
            text = domain.XMLDesc(0)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                continue
            raise
        owners.update(dict.fromkeys(xml.mac_addresses(xml.parse(text)), domain.name()))
    return owners
