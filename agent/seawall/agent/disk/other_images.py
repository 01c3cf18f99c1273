"""Images of formats other than qcow2 and raw: is one file all that they consist of? Asked before an image of a VM that is off is read.

Only what a mark can watch may be read there: a write to a file that nobody looks at would tear the point.
"""

import struct
from typing import BinaryIO

from seawall.agent.disk.qcow2_header import stand_at

ALONE = ("raw", "luks", "qcow2", "vdi", "vpc", "vhdx", "parallels")
"""One file always, as QEMU reads them; the layers of qcow2 are read from its header elsewhere."""

_QED, _QED_BACKED = struct.Struct("<4s12xQ"), 1
_VMDK = struct.Struct(
    "<4sII3Q"
)  # magic, version, flags, capacity, grain's size, the descriptor's offset, all in sectors
_VMDK_OLD = b"COWD"
_SECTOR_BYTES, _LONGEST_DESCRIPTOR = 512, 20 * 1024


def lies_elsewhere(path: str, image_format: str) -> str:
    """What else it may consist of, as the end of a sentence; "" when it is this file alone. QEMU says what is wrong with a damaged one."""
    if image_format in ALONE:
        return ""
    if image_format not in ("qed", "vmdk"):
        return f"of format {image_format}, of which nobody here tells which files it consists of"
    try:
        with open(path, "rb") as file:
            return _qed(file) if image_format == "qed" else _vmdk(file)
    except (OSError, struct.error):
        return f"not told to be the whole of a {image_format} image"


def _qed(file: BinaryIO) -> str:
    magic, features = _QED.unpack(file.read(_QED.size))
    return "a qed image that lies upon another file" if magic != b"QED\0" or features & _QED_BACKED else ""


def _vmdk(file: BinaryIO) -> str:
    start = file.read(_VMDK.size)
    if start.startswith(_VMDK_OLD):
        return ""
    magic, _, _, capacity, _, descriptor_at = _VMDK.unpack(start)
    if magic != b"KDMV" or not capacity:
        return "a vmdk image whose extents are other files"
    stand_at(file, descriptor_at * _SECTOR_BYTES)
    descriptor = file.read(_LONGEST_DESCRIPTOR).partition(b"\0")[0].lower()
    has_parent = descriptor_at and b"parentcid=ffffffff" not in descriptor
    return "a vmdk image that lies upon another file" if has_parent else ""
