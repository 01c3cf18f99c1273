"""The text beside rescued files: what they are and how to make a VM of them again. Pure; the same point gives the same text."""

from seawall.repository.clock import datetime_of
from seawall.repository.format.root import Root
from seawall.repository.rescue.file_names import DOMAIN_MEMBER, image_names, printable

_TEXT = """\
VM {vm} as it was at {instant} UTC, rescued from a Seawall repository.

Point: {point}
VM id: {vm_id}
File systems: {frozen}

Disks (raw images, sparse):
{disks}

{define}"""

_DEFINE = """\
To run it again under libvirt:
1. Copy domain.xml and edit the copy. It is as the old host had it, nothing is taken out or made fit: other paths,
   networks and CPU models may be needed here, and it may hold passwords (VNC, SPICE), so keep it to yourself.
2. For each disk point <source> to the image above and set <driver name='qemu' type='raw'/>; remove <backingStore>.
3. If a VM with the same name, UUID or MAC addresses may still run anywhere, change or remove them.
4. Firmware variables (<nvram>) and TPM state are not part of a point; libvirt makes new ones from its template.
5. virsh define COPY.xml
"""

_NO_DOMAIN = "The point holds no domain.xml: make a VM with these disks by hand.\n"


def how_to_text(root: Root) -> str:
    """For all disks of the point, whichever were asked for."""
    names = image_names(root)
    disks = [
        f"  {printable(disk.disk)}: {names[disk.disk]}, {disk.size_bytes} bytes, was {printable(disk.format)} at {printable(disk.source)}"
        for disk in root.disks
    ]
    return _TEXT.format(
        vm=printable(root.vm_name),
        vm_id=root.vm_id,
        point=root.point_id,
        instant=_instant(root.instant_us),
        frozen="frozen by the guest when the point was taken"
        if root.guest_frozen
        else "not frozen: as after a power cut; they may have to replay their journals",
        disks="\n".join(disks) or "  none",
        define=_DEFINE if any(member.name == DOMAIN_MEMBER for member in root.members) else _NO_DOMAIN,
    )


def _instant(microseconds: int) -> str:
    """An agent's clock wrote it: it may be past every calendar."""
    try:
        return datetime_of(microseconds).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{microseconds} microseconds after 1970"
