"""What holds the bytes of a disk, by a name that limits can count: file system, volume group, pool. Pure.

`kind:name` (nfs:nas:/vol1, rbd:pool) is the same storage for every host that says so; a name that begins with a slash (the mount point
of a local file system, a volume group, a device) and `pool:NAME` are this host's own. The controller relies on that.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from seawall.agent.disk.mounts import Mounts, ReadLink

DEVICES = "/dev"
LVM = "LVM-"
"""How device-mapper's UUID of a logical volume begins."""
_ZFS_VOLUMES, _RBD_IMAGES = "/dev/zvol/", "/dev/rbd/"
_NO_GROUPS = frozenset({"block", "bus", "char", "disk", "drbd", "etherd", "loop", "mapper", "md", "nbd", "rbd", "zvol"})
"""Directories in /dev that are no volume groups."""
_LONGEST = 800


@dataclass(frozen=True, slots=True)
class MappedDevice:
    """One of device-mapper's. `uuid` begins with LVM-, mpath-, CRYPT-, ..."""

    name: str
    uuid: str


class StorageNames:
    """Of one look at this host's mounts and mapped devices. `mapped`: "dm-3" -> what it is."""

    def __init__(self, mounts: Mounts, mapped: Mapping[str, MappedDevice], read_link: ReadLink) -> None:
        self._mounts = mounts
        self._mapped = mapped
        self._read_link = read_link
        self._uuids = {each.name: each.uuid for each in mapped.values()}

    def of_chain(self, sources: Iterable[str]) -> tuple[str, ...]:
        """Of a disk's image and its backing files, each once, that of the image first; those of which nothing can be said are left out."""
        found = (self.of(source) for source in sources if source)
        return tuple(dict.fromkeys(_sendable(name) for name in found if name))

    def of(self, source: str) -> str:
        """ "" where no mount of this host holds the path."""
        if not source.startswith("/"):
            return source.partition("/")[0]
        mount, path = self._mounts.holding(source, self._read_link)
        if mount is None:
            return ""
        if mount.point in ("/", DEVICES) and path.startswith(f"{DEVICES}/"):
            return self._of_device(source if source.startswith(f"{DEVICES}/") else path, path)
        return self._mounts.name(mount)

    def _of_device(self, given: str, node: str) -> str:
        """The volume group where device-mapper or the path tells it, else the device as it was given: nodes change their numbers."""
        if given.startswith(_ZFS_VOLUMES):
            return _ZFS_VOLUMES + given.removeprefix(_ZFS_VOLUMES).partition("/")[0]
        if given.startswith(_RBD_IMAGES) and "/" in given.removeprefix(_RBD_IMAGES):
            return f"rbd:{given.removeprefix(_RBD_IMAGES).partition('/')[0]}"
        name = self._mapped_name(node)
        if name:
            group = volume_group(name) if self._uuids.get(name, LVM).startswith(LVM) else ""
            return f"{DEVICES}/{group}" if group else f"{DEVICES}/mapper/{name}"
        folder, _, volume = given.removeprefix(f"{DEVICES}/").partition("/")
        if given == node and volume and "/" not in volume and folder not in _NO_GROUPS:
            return f"{DEVICES}/{folder}"  # a volume that is not active, so that nothing is there yet
        return given

    def _mapped_name(self, node: str) -> str:
        found = self._mapped.get(node.removeprefix(f"{DEVICES}/"))
        if found is not None:
            return found.name
        _, there, name = node.partition(f"{DEVICES}/mapper/")
        return name if there else ""


def volume_group(name: str) -> str:
    """ "vg--fast-web" -> "vg-fast", as device-mapper names logical volumes: a hyphen inside a name is doubled. "" for no such name."""
    group, hyphen, volume = name.replace("--", "\0").partition("-")
    return group.replace("\0", "-") if hyphen and volume else ""


def _sendable(name: str) -> str:
    """A message takes no bytes that are no text."""
    return name[:_LONGEST].encode(errors="replace").decode()
