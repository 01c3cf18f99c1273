"""Names of the files that a point becomes. Pure.

An agent wrote the names of disks and members: they are checked before they are part of a path.
"""

import re
from collections.abc import Sequence

from seawall.repository.format.root import DiskManifest, Root
from seawall.repository.rescue.errors import DiskUnknown
from seawall.repository.rescue.files import PARTIAL

DOMAIN_MEMBER = "domain.xml"
NVRAM_MEMBER = "nvram.fd"
HOW_TO = "HOW-TO-USE.txt"

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def image_names(root: Root) -> dict[str, str]:
    """Disk -> file name, "vda" -> "vda.raw"; a disk whose name is no plain one is known by its position: "disk-0.raw"."""
    names: dict[str, str] = {}
    taken = {f"{disk.disk}.raw" for disk in root.disks if _SAFE.fullmatch(disk.disk)}
    for position, disk in enumerate(root.disks):
        name = f"{disk.disk}.raw"
        if name not in taken:
            name = f"disk-{position}.raw"
            while name in taken:
                name = f"x{name}"
            taken.add(name)
        names[disk.disk] = name
    return names


def member_names(root: Root) -> dict[str, str]:
    """Member -> file name: its own, or by its position, "member-0", where that is no plain one or may be another file's."""
    ours = (HOW_TO, *image_names(root).values())
    names: dict[str, str] = {}
    for position, member in enumerate(root.members):
        name = member.name
        plain = _SAFE.fullmatch(name) and not name.startswith(("member-", *ours)) and not name.endswith(PARTIAL)
        names[name] = name if plain else f"member-{position}"
    return names


def chosen_disks(root: Root, wishes: Sequence[str]) -> list[DiskManifest]:
    """Those that were asked for, all for none asked, in the point's order. Raises DiskUnknown."""
    known = {disk.disk for disk in root.disks}
    for wish in wishes:
        if wish not in known:
            raise DiskUnknown(
                f"Point {root.point_id} has no disk {wish!r}; it has: {', '.join(map(printable, sorted(known))) or 'none'}."
            )
    return [disk for disk in root.disks if not wishes or disk.disk in wishes]


def printable(text: str) -> str:
    """For a terminal: what could move the cursor or colour the screen is shown as an escape."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
