"""`<disk>` elements as options of QEMU's block layer, for reading the disks of a VM that is off. Pure.

Nothing that is opened so takes part in QEMU's image locks (force-share): a start of the VM is never refused for our sake.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping

from seawall.agent.errors import DiskNeedsRunningVm
from seawall.agent.hypervisor.port import UNTOLD, DiskImage

ReadSecret = Callable[[ET.Element], bytes]
"""What a `<secret uuid= | usage=>` names. Raises DiskNeedsRunningVm."""

NBD_PORT = "10809"
_FORMAT = re.compile(r"[a-z0-9]+")


def image_of(row: ET.Element, read_secret: ReadSecret) -> DiskImage:
    """A `<disk>` whose source is a file, a block device, or a protocol that QEMU's tools speak alone. Raises DiskNeedsRunningVm."""
    target = _value(row, "target", "dev")
    source = row.find("source")
    if source is None or source.find("slices") is not None or source.find("snapshot") is not None:
        raise _refused(target, "the part of a file that its definition names")
    secrets: dict[str, bytes] = {}

    def keep(secret: ET.Element | None) -> str:
        if secret is None:
            raise _refused(target, "an image whose secret its definition does not name")
        key = f"{target}-{len(secrets)}"
        secrets[key] = read_secret(secret)
        return key

    storage = _storage(row, source, target, keep)
    options = _formatted(row, source, storage, target, keep)
    options |= {"read-only": True, "force-share": True}
    path = source.get("file") or source.get("dev") or ""
    return DiskImage(target, options, path, tuple(secrets.items()), tuple(_laid_upon(row)))


KeepSecret = Callable[[ET.Element | None], str]


def _storage(row: ET.Element, source: ET.Element, target: str, keep: KeepSecret) -> dict[str, object]:
    """What holds the image's bytes."""
    if path := source.get("file"):
        return {"driver": "file", "filename": path}
    if path := source.get("dev"):  # another host may have written it since: not what this host's cache holds of it
        return {"driver": "host_device", "filename": path, "cache": {"direct": True}}
    match source.get("protocol"):
        case "nbd" if source.get("tls") != "yes":
            return {"driver": "nbd", "server": _nbd_server(source, target), "export": source.get("name", "")}
        case "rbd":
            return _rbd(source, target, keep)
    raise _refused(target, f"a source of type {source.get('protocol') or row.get('type', 'file')}")


def _formatted(
    row: ET.Element, source: ET.Element, storage: dict[str, object], target: str, keep: KeepSecret
) -> dict[str, object]:
    """The image in it."""
    driver = row.find("driver")
    name = "raw" if driver is None else driver.get("type", "raw")
    if not _FORMAT.fullmatch(name):
        raise _refused(target, f"format {name!r}")
    encryption = source.find("encryption") if source.find("encryption") is not None else row.find("encryption")
    if encryption is None or encryption.get("format") == "default":
        return {"driver": name, "file": storage}
    if encryption.get("format") != "luks":
        raise _refused(target, f"encryption {encryption.get('format')!r}")
    secret = keep(encryption.find("secret"))
    if name == "raw":
        return {"driver": "luks", "key-secret": secret, "file": storage}
    return {"driver": name, "encrypt": {"format": "luks", "key-secret": secret}, "file": storage}


def _nbd_server(source: ET.Element, target: str) -> Mapping[str, str]:
    host = source.find("host")
    if host is None:
        raise _refused(target, "an NBD server that its definition does not name")
    if host.get("transport") == "unix":
        return {"type": "unix", "path": host.get("socket", "")}
    return {"type": "inet", "host": host.get("name", ""), "port": host.get("port", NBD_PORT)}


def _rbd(source: ET.Element, target: str, keep: KeepSecret) -> dict[str, object]:
    pool, _, rest = source.get("name", "").partition("/")
    namespace, _, image = rest.rpartition("/")
    options: dict[str, object] = {"driver": "rbd", "pool": pool, "image": image}
    if namespace:
        options["namespace"] = namespace
    servers = [{"host": host.get("name", ""), "port": host.get("port", "6789")} for host in source.iterfind("host")]
    if servers:
        options["server"] = servers
    if config := _value(source, "config", "file"):
        options["conf"] = config
    auth = source.find("auth")
    if auth is not None:
        options |= {"user": auth.get("username", ""), "key-secret": keep(auth.find("secret"))}
    if not pool or not image:
        raise _refused(target, f"an RBD image named {source.get('name', '')!r}")
    return options


def _laid_upon(row: ET.Element) -> Iterator[str]:
    """What the definition says of its backing files, where it does: libvirt takes its word, and not the headers'."""
    while (store := row.find("backingStore")) is not None:
        source, row = store.find("source"), store
        yield "" if source is None else source.get("file") or source.get("dev") or UNTOLD


def _value(row: ET.Element, child: str, name: str) -> str:
    found = row.find(child)
    return "" if found is None else found.get(name, "")


def _refused(target: str, what: str) -> DiskNeedsRunningVm:
    return DiskNeedsRunningVm(f"The VM is off, and its disk {target} is {what}, which only the running VM opens.")
