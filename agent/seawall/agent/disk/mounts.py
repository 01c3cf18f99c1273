"""The mounts of this host as /proc/self/mountinfo lists them: which file system holds a path. Pure; what asks the host is `host_storages`.

A path is followed as the kernel follows it, mount by mount, so what lies under another mount is not found. Links are resolved on local file
systems alone: whoever looks at a file of a server that is away waits for that server.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

ReadLink = Callable[[str], str]
"""Where a symbolic link leads; "" for what is none, or is not there."""

MOST_LINKS = 40
"""As many as the kernel follows."""
NETWORK_KINDS = {
    "nfs": "nfs",
    "nfs4": "nfs",
    "cifs": "cifs",
    "smb3": "cifs",
    "smbfs": "cifs",
    "ceph": "ceph",
    "fuse.ceph": "ceph",
    "fuse.ceph-fuse": "ceph",
    "glusterfs": "glusterfs",
    "fuse.glusterfs": "glusterfs",
    "gfs2": "gfs2",
    "ocfs2": "ocfs2",
    "lustre": "lustre",
    "beegfs": "beegfs",
    "gpfs": "gpfs",
    "orangefs": "orangefs",
    "afs": "afs",
    "9p": "9p",
    "virtiofs": "virtiofs",
    "fuse.moosefs": "moosefs",
    "fuse.mfs": "moosefs",
    "fuse.lizardfs": "lizardfs",
    "fuse.juicefs": "juicefs",
    "fuse.sshfs": "sshfs",
}
"""File systems that several hosts mount -> the word that their names begin with, one for all ways to mount the same."""
_ESCAPED = re.compile(r"\\([0-7]{3})")
_TOP = -1
"""Parent of the mount that all others lie on: no mount has this id."""
_LEFT_FIELDS, _RIGHT_FIELDS = 6, 3


@dataclass(frozen=True, slots=True)
class Mount:
    """One line. `device`: major:minor of the file system, which its bind mounts and the subvolumes of a btrfs share."""

    id: int
    parent: int
    device: str
    root: str  # the part of the file system that is seen here: "/" is all of it
    point: str
    kind: str  # "ext4", "nfs4", "fuse.glusterfs", ...
    source: str

    @property
    def network(self) -> str:
        """Its word in NETWORK_KINDS; "" for one of this host."""
        return NETWORK_KINDS.get(self.kind, "")

    @property
    def may_wait(self) -> bool:
        """Looking at its files may take as long as some other machine or process does."""
        return bool(self.network) or self.kind.startswith("fuse") or self.kind == "autofs"


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """All that can be read of it; see proc(5)."""
    found = (_parsed(line) for line in text.split("\n") if line)
    return tuple(mount for mount in found if mount is not None)


def _parsed(line: str) -> Mount | None:
    left, _, right = line.partition(" - ")
    fields, last = left.split(" "), right.split(" ")
    if len(fields) < _LEFT_FIELDS or len(last) < _RIGHT_FIELDS or not (fields[0] + fields[1]).isdigit():
        return None
    device, root, point = fields[2], _plain(fields[3]), _plain(fields[4])
    return Mount(int(fields[0]), int(fields[1]), device, root, point, _plain(last[0]), _plain(last[1]))


def _plain(text: str) -> str:
    """Spaces, tabs, newlines and backslashes are written as three octal digits."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


class Mounts:
    """All mounts of one look."""

    def __init__(self, mounts: Iterable[Mount]) -> None:
        every = tuple(mounts)
        ids = {mount.id for mount in every}
        self._at: dict[tuple[int, str], Mount] = {}
        self._of: dict[str, list[Mount]] = {}
        self._names: dict[str, str] = {}
        for mount in every:
            parent = mount.parent if mount.parent in ids and mount.parent != mount.id else _TOP
            self._at[parent, mount.point] = mount
            self._of.setdefault(_shared_by(mount), []).append(mount)

    def holding(self, path: str, read_link: ReadLink) -> tuple[Mount | None, str]:
        """The mount that an absolute path lies on, and the path without those links that could be resolved."""
        at, mount, links = "/", self._over("/", None), 0
        left = _parts(path)
        while left:
            part = left.pop()
            if part == "..":
                at = str(PurePosixPath(at).parent)
                mount = self._as_given(at)
                continue
            step = f"{at.rstrip('/')}/{part}"
            crossed = self._over(step, mount)
            looked_at = crossed is mount and mount is not None and not mount.may_wait and links < MOST_LINKS
            if looked_at and (target := read_link(step)):
                links += 1
                left += _parts(target)
                if target.startswith("/"):
                    at, mount = "/", self._over("/", None)
                continue
            at, mount = step, crossed
        return mount, at

    def name(self, mount: Mount) -> str:
        """What a storage limit calls it: `nfs:nas:/vol1`, the same on each host that mounts it; of a local one the mount point.

        Of several mount points of one file system that with the fewest parts, rather of the whole than of a part.
        """
        if mount.network:
            return f"{mount.network}:{_source(mount)}"
        shared = _shared_by(mount)
        if shared not in self._names:
            seen = [each for each in self._of[shared] if self._as_given(each.point) is each]
            ordered = ((each.point.count("/"), each.point != "/", each.root != "/", each.point) for each in seen)
            self._names[shared] = min(ordered, default=(0, False, False, mount.point))[-1]
        return self._names[shared]

    def _as_given(self, path: str) -> Mount | None:
        """That of a path without links."""
        mount = self._over("/", None)
        for step in _steps(path):
            mount = self._over(step, mount)
        return mount

    def _over(self, path: str, mount: Mount | None) -> Mount | None:
        """What is seen at a path of this mount: the last of those that were mounted there, one upon the other."""
        while (above := self._at.get((mount.id if mount else _TOP, path))) is not None:
            mount = above
        return mount


def _shared_by(mount: Mount) -> str:
    """The same for mounts of one storage: a device, or a ZFS pool, each of whose datasets is a file system."""
    return f"zfs {mount.source.partition('/')[0]}" if mount.kind == "zfs" else mount.device


def _source(mount: Mount) -> str:
    """Without what differs among the hosts that mount it: the user of a Ceph file system, a slash at the end."""
    source = mount.source.partition("@")[2] or mount.source if mount.network == "ceph" else mount.source
    return source if source.endswith((":/", "=/")) else source.rstrip("/") or source


def _parts(path: str) -> list[str]:
    """In the order in which `pop` takes them."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _steps(path: str) -> Iterator[str]:
    """ "/a/b" -> "/a", "/a/b"."""
    step = ""
    for part in reversed(_parts(path)):
        step = f"{step}/{part}"
        yield step
