"""The text beside rescued files: what they are and how to make a VM of them again. Pure; the same point gives the same text."""

from collections.abc import Mapping

from seawall.repository.clock import datetime_of
from seawall.repository.format.root import Root
from seawall.repository.rescue.file_names import DOMAIN_MEMBER, NVRAM_MEMBER, image_names, member_names, printable

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
4. {firmware}
5. {tpm}
6. virsh define COPY.xml
"""

_NVRAM = """\
{file} holds the UEFI variables (boot entries, Secure Boot keys): copy it to a place that QEMU may write to, name that
   in <nvram>, and keep to a <loader> of the same name and size; another build of the firmware takes them for garbage."""

_NO_NVRAM = "The point holds no UEFI variables; where the VM has <nvram>, remove that element: libvirt makes new ones from its template."

_TPM = """\
{file} holds the contents of the TPM (keys that the guest sealed its disks with): before the first start copy it to
   /var/lib/libvirt/swtpm/<uuid of the VM>/{folder}/, folder and file for the user that runs swtpm alone (tss, modes 700 and 600)."""

_NO_TPM = "The point holds no contents of a TPM; an emulated one starts empty."

_TPM_FOLDERS = {"tpm2-00.permall": "tpm2", "tpm-00.permall": "tpm1.2"}
"""Member -> libvirt's folder for it."""

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
        define=_define(member_names(root)),
    )


def _define(files: Mapping[str, str]) -> str:
    """`files`: member -> file."""
    if DOMAIN_MEMBER not in files:
        return _NO_DOMAIN
    nvram = _NVRAM.format(file=files[NVRAM_MEMBER]) if NVRAM_MEMBER in files else _NO_NVRAM
    tpm = next(
        (_TPM.format(file=files[name], folder=to) for name, to in _TPM_FOLDERS.items() if name in files), _NO_TPM
    )
    return _DEFINE.format(firmware=nvram, tpm=tpm)


def _instant(microseconds: int) -> str:
    """An agent's clock wrote it: it may be past every calendar."""
    try:
        return datetime_of(microseconds).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{microseconds} microseconds after 1970"
