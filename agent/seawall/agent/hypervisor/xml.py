"""XML to and from libvirt. Pure. What comes from a repository is hostile, so document types and entities are refused before parsing."""

import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from seawall.agent.errors import AgentError
from seawall.agent.hypervisor.port import BackupDisk, DomainDisk

MAX_XML_CHARACTERS = 4 * 1024 * 1024
MAX_DEPTH = 64
DEFAULT_SECTOR_BYTES = 512
AGENT_CHANNEL = "org.qemu.guest_agent.0"
TAGS_NAMESPACE = "urn:seawall:tags"
MOST_TAGS = 64
LONGEST_TAG = 253
_PIECE_CHARACTERS = 4096


class XmlRefused(AgentError):
    """Not well-formed, too long, or with a document type: nothing that libvirt writes."""

    reason = "XML_REFUSED"


def parse(text: str) -> ET.Element:
    """The root element. Raises XmlRefused; never expands an entity of the document's own."""
    if len(text) > MAX_XML_CHARACTERS:
        raise XmlRefused(f"An XML document of {len(text)} characters is longer than libvirt writes.")
    if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        raise XmlRefused("An XML document with a document type declaration was refused.")
    try:
        return _parse_bounded(text)
    except (ET.ParseError, ValueError) as error:
        raise XmlRefused(f"An XML document could not be parsed: {error}.") from error


def render(root: ET.Element) -> str:
    """The document as text, indented. Changes the whitespace of its argument."""
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def backup_xml(disks: Sequence[BackupDisk], all_targets: Iterable[str], socket: Path) -> str:
    """`<domainbackup>` in pull mode over a unix socket; targets without a BackupDisk are left out of the job."""
    root = ET.Element("domainbackup", mode="pull")
    base = _base(disks)
    if base:
        ET.SubElement(root, "incremental").text = base
    ET.SubElement(root, "server", transport="unix", socket=str(socket))
    rows = ET.SubElement(root, "disks")
    for disk in disks:
        row = ET.SubElement(rows, "disk", name=disk.target, type="file")
        if base:
            row.set("backupmode", "incremental" if disk.incremental_from else "full")
            if disk.incremental_from:
                row.set("incremental", disk.incremental_from)
        ET.SubElement(row, "scratch", file=str(disk.scratch))
    for target in _others(disks, all_targets):
        ET.SubElement(rows, "disk", name=target, backup="no")
    return render(root)


def checkpoint_xml(name: str, disks: Sequence[BackupDisk], all_targets: Iterable[str]) -> str:
    """`<domaincheckpoint>` with a bitmap for the disks that ask for one."""
    root = ET.Element("domaincheckpoint")
    ET.SubElement(root, "name").text = name
    rows = ET.SubElement(root, "disks")
    for disk in disks:
        ET.SubElement(rows, "disk", name=disk.target, checkpoint="bitmap" if disk.checkpoint else "no")
    for target in _others(disks, all_targets):
        ET.SubElement(rows, "disk", name=target, checkpoint="no")
    return render(root)


def backup_socket(text: str) -> Path | None:
    """The unix socket in a `<domainbackup>`; None when it serves none."""
    server = parse(text).find("server")
    path = None if server is None else server.get("socket")
    return Path(path) if path else None


def agent_socket(domain: ET.Element) -> Path | None:
    """The guest agent's channel in the `<domain>` of a running VM."""
    for channel in domain.iterfind("devices/channel[@type='unix']"):
        source = channel.find("source")
        if channel.find(f"target[@name='{AGENT_CHANNEL}']") is not None and source is not None and source.get("path"):
            return Path(source.get("path", ""))
    return None


def checkpoint_targets(text: str) -> frozenset[str]:
    """Disks that have a bitmap in this `<domaincheckpoint>`."""
    rows = parse(text).iterfind("disks/disk")
    return frozenset(row.get("name", "") for row in rows if row.get("checkpoint") == "bitmap")


def checkpoint_again(name: str, targets: Collection[str], domain: str) -> str:
    """A `<domaincheckpoint>` that can be redefined: the bitmaps of this name on these disks of the `<domain>`."""
    definition = parse(domain)
    root = ET.Element("domaincheckpoint")
    ET.SubElement(root, "name").text = name
    ET.SubElement(root, "creationTime").text = "0"  # asked for, and of no use to anybody
    rows = ET.SubElement(root, "disks")
    for disk in disks_of(definition):
        ET.SubElement(rows, "disk", name=disk.target, checkpoint="bitmap" if disk.target in targets else "no")
    root.append(definition)
    return render(root)


def disks_of(domain: ET.Element) -> tuple[DomainDisk, ...]:
    """Block devices in a `<domain>`, in its order; capacities are 0 here."""
    return tuple(_disk(row) for row in disk_rows(domain).values())


def disk_rows(domain: ET.Element) -> dict[str, ET.Element]:
    """Target -> `<disk>`, in the order of the `<domain>`."""
    return {target: row for row in domain.iterfind("devices/disk") if (target := _target(row))}


def tags_of(domain: ET.Element) -> tuple[str, ...]:
    """Words that somebody gave the VM for policies: `<metadata><tags xmlns="urn:seawall:tags">gold, db</tags></metadata>`."""
    texts = (element.text or "" for element in domain.iterfind(f"metadata/{{{TAGS_NAMESPACE}}}tags"))
    words = (word.strip() for text in texts for word in text.split(","))
    return tuple(dict.fromkeys(word[:LONGEST_TAG] for word in words if word))[:MOST_TAGS]


def mac_addresses(domain: ET.Element) -> tuple[str, ...]:
    """Lower case, in the order of the interfaces."""
    rows = domain.iterfind("devices/interface/mac")
    return tuple(row.get("address", "").lower() for row in rows if row.get("address"))


def _parse_bounded(text: str) -> ET.Element:
    """Piece by piece, so that a document made of depth alone is refused before anything recurses into it."""
    parser: ET.XMLPullParser[Any] = ET.XMLPullParser(("start", "end"))  # entities need a document type, refused before
    root: ET.Element | None = None
    depth = 0
    for start in range(0, len(text), _PIECE_CHARACTERS):
        parser.feed(text[start : start + _PIECE_CHARACTERS])
        for item in parser.read_events():
            event, element = cast(tuple[str, ET.Element], item)
            root = element if root is None else root
            depth += 1 if event == "start" else -1
            if depth > MAX_DEPTH:
                raise XmlRefused(f"An XML document nested deeper than {MAX_DEPTH} elements was refused.")
    parser.close()
    if root is None:
        raise XmlRefused("An empty XML document was refused.")
    return root


def _disk(row: ET.Element) -> DomainDisk:
    driver = row.find("driver")
    return DomainDisk(
        target=_target(row),
        device=row.get("device", "disk"),
        source_type=row.get("type", "file"),
        source=_source(row),
        format="raw" if driver is None else driver.get("type", "raw"),
        capacity_bytes=0,
        read_only=row.find("readonly") is not None,
        transient=row.find("transient") is not None,
        shareable=row.find("shareable") is not None,
        sector_bytes=_sector_bytes(row),
        backing=tuple(source for store in row.iter("backingStore") if (source := _source(store))),
    )


def _sector_bytes(row: ET.Element) -> int:
    size = "" if (block := row.find("blockio")) is None else block.get("logical_block_size", "")
    return int(size) if size.isascii() and size.isdigit() else DEFAULT_SECTOR_BYTES


def _target(row: ET.Element) -> str:
    target = row.find("target")
    return "" if target is None else target.get("dev", "")


def _source(row: ET.Element) -> str:
    """A path, or something like `rbd:pool/image` for what has none."""
    source = row.find("source")
    if source is None:
        return ""
    if source.get("protocol"):
        return f"{source.get('protocol')}:{source.get('name', '')}"
    if source.get("pool"):
        return f"pool:{source.get('pool')}/{source.get('volume', '')}"
    return source.get("file") or source.get("dev") or source.get("dir") or source.get("path") or ""


def _base(disks: Sequence[BackupDisk]) -> str | None:
    return next((disk.incremental_from for disk in disks if disk.incremental_from), None)


def _others(disks: Sequence[BackupDisk], all_targets: Iterable[str]) -> list[str]:
    listed = {disk.target for disk in disks}
    return [target for target in all_targets if target not in listed]
