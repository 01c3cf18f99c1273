"""Headers of disk images that somebody made up, and images that consist of several files."""

import struct
import subprocess
from pathlib import Path

import pytest

from seawall.agent.disk.other_images import lies_elsewhere
from seawall.agent.disk.qcow2_bitmaps import stored_bitmaps, usable_bitmaps
from seawall.agent.disk.qcow2_chain import backing_chain, has_data_file

EDGES = (2**63 - 1, 2**63, 2**64 - 1)
BITMAPS, BACKING_FORMAT = 0x23852875, 0xE2792ACA


def header(backing_at: int = 0, backing_bytes: int = 0) -> bytes:
    """Of qcow2 version 3, 104 bytes."""
    start = struct.pack(">4sIQI", b"QFI\xfb", 3, backing_at, backing_bytes)
    return start.ljust(100, b"\0") + struct.pack(">I", 104)


@pytest.mark.parametrize("offset", EDGES)
def test_offsets_beyond_any_file_are_no_bitmaps_and_no_backing_file(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "hostile.qcow2"
    directory = struct.pack(">IIIIQQ", BITMAPS, 24, 1, 0, 64, offset)
    path.write_bytes(header() + directory + bytes(8))
    assert stored_bitmaps(str(path)) == usable_bitmaps(str(path)) == frozenset()
    path.write_bytes(header(offset, 10) + bytes(64))
    assert list(backing_chain(str(path))) == [] and not has_data_file(str(path))


def test_a_backing_format_of_gigabytes_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "hostile.qcow2"
    extension = struct.pack(">II", BACKING_FORMAT, 2**32 - 16)
    path.write_bytes(header(4096, 4) + extension + b"x" * (4096 - 112) + b"/a/b")
    with path.open("ab") as file:
        file.truncate(2**33)
    (found,) = backing_chain(str(path))
    assert len(found.format) <= 1023 and found.path == "/a/b"


def made(path: Path, image_format: str, *options: str) -> str:
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", image_format, *options, path, "4M"], check=True, capture_output=True
    )
    return str(path)


@pytest.mark.parametrize("image_format", ["vdi", "vpc", "vhdx", "parallels", "qed", "vmdk", "raw", "qcow2"])
def test_an_image_in_one_file(tmp_path: Path, image_format: str) -> None:
    assert lies_elsewhere(made(tmp_path / "one", image_format), image_format) == ""


@pytest.mark.parametrize("kind", ["twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "monolithicFlat"])
def test_a_vmdk_of_several_files(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path / "many.vmdk", "vmdk", "-o", f"subformat={kind}")
    assert "extents are other files" in lies_elsewhere(path, "vmdk")


@pytest.mark.parametrize("image_format", ["vmdk", "qed"])
def test_an_image_upon_another(tmp_path: Path, image_format: str) -> None:
    base = made(tmp_path / "base", image_format)
    path = str(tmp_path / "upper")
    command = ["qemu-img", "create", "-q", "-f", image_format, "-b", base, "-F", image_format, path]
    subprocess.run(command, check=True, capture_output=True)
    assert "lies upon another file" in lies_elsewhere(path, image_format)


@pytest.mark.parametrize("image_format", ["qcow", "dmg", "vvfat", "bochs"])
def test_what_nobody_knows_is_refused(tmp_path: Path, image_format: str) -> None:
    assert f"format {image_format}" in lies_elsewhere(str(tmp_path), image_format)


@pytest.mark.parametrize("image_format", ["vmdk", "qed"])
@pytest.mark.parametrize("content", [b"", b"KDMV", b"QED\0", b"# Disk DescriptorFile\n", b"KDMV" + b"\xff" * 76])
def test_made_up_headers_are_refused(tmp_path: Path, image_format: str, content: bytes) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    assert lies_elsewhere(str(path), image_format)
