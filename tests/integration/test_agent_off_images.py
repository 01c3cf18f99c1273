"""Images read without a lock through real qemu-nbd: what tells that somebody writes, bitmaps, secrets, and who may open them meanwhile."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from seawall.agent.capture.names import captures_dir
from seawall.agent.capture.sweep import sweep
from seawall.agent.disk.image_mark import is_written, mark_of
from seawall.agent.disk.image_source import ImageSource
from seawall.agent.disk.qcow2_bitmaps import stored_bitmaps, usable_bitmaps
from seawall.agent.disk.qcow2_chain import Backing, backing_chain
from seawall.agent.errors import DiskUnreadable
from seawall.agent.hypervisor.port import DiskImage
from seawall.repository.clock import SystemClock
from support.agent_memory_hypervisor import MemoryHypervisor
from support.block_device import loop_device
from support.libvirt_host import await_true

MIB = 1024 * 1024


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """4 MiB; a bitmap `c0` knows of 64 KiB at 1 MiB."""
    path = tmp_path / "disk.qcow2"
    tool("qemu-img", "create", "-f", "qcow2", path, "4M")
    qemu_io(path, "write -P 1 0 4M")
    tool("qemu-img", "bitmap", "--add", path, "c0")
    qemu_io(path, "write -P 2 1M 64k")
    return path


def tool(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


def encrypted(path: Path) -> None:
    """Tried again: one time in six qemu-img is "unable to get accurate CPU usage" and gives up."""
    options = ("--object", "secret,id=s,data=odd", "-f", "luks", "-o", "key-secret=s,iter-time=10")
    for _ in range(20):
        with suppress(subprocess.CalledProcessError):
            tool("qemu-img", "create", *options, path, "1M")
            return
    pytest.fail("qemu-img makes no LUKS image")


def qemu_io(path: Path, command: str) -> None:
    tool("qemu-io", "-f", "qcow2", "-c", command, path)


@contextmanager
def opened_by_qemu(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """As a running VM has it."""
    with subprocess.Popen(
        ["qemu-io", "-f", "qcow2", str(path)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as held:
        await_true(lambda: "c0" not in usable_bitmaps(str(path)), "QEMU has it", 60)
        assert is_written(str(path))
        yield held
        assert held.stdin is not None
        held.stdin.close()


def an_image(path: Path, driver: str = "qcow2", **more: object) -> DiskImage:
    storage = {"driver": "file", "filename": str(path)}
    return DiskImage(
        "vda", {"driver": driver, "file": storage, "read-only": True, "force-share": True, **more}, str(path)
    )


@contextmanager
def served(image: DiskImage, folder: Path, bitmap: str | None = None) -> Iterator[ImageSource]:
    made = ImageSource(image, folder / "0.sock", SystemClock(), bitmap=bitmap)
    try:
        yield made
    finally:
        made.close()
    assert not (folder / "0.sock").exists()


def content(source: ImageSource) -> bytes:
    buffer = bytearray(source.source.size_bytes)
    source.source.read_into(0, memoryview(buffer))
    return bytes(buffer)


def test_the_bitmap_in_the_file_names_what_changed(image: Path, tmp_path: Path) -> None:
    with served(an_image(image), tmp_path, "c0") as source:
        dirty = [(one.offset, one.length) for one in source.source.extents(0, 4 * MIB) if one.dirty]
        assert dirty == [(MIB, 65536), (2 * MIB, 2 * MIB)], "and the tail, which is read to be sure"
        assert content(source) == b"\1" * MIB + b"\2" * 65536 + b"\1" * (3 * MIB - 65536)


def test_who_opens_the_image_meanwhile_is_not_refused_and_seen(image: Path, tmp_path: Path) -> None:
    """The start of a VM is never refused for our sake: without `force-share` this very test fails."""
    with served(an_image(image), tmp_path):
        before = mark_of(str(image))
        assert not is_written(str(image)), "our own reading is no writing"
        with opened_by_qemu(image):
            pass
        assert not is_written(str(image))
        assert mark_of(str(image)) != before, "it marked its bitmaps as in use"
        before = mark_of(str(image))
        qemu_io(image, "write 0 512")
        assert mark_of(str(image)) != before


def test_an_image_under_a_running_qemu_is_told_by_its_locks(image: Path) -> None:
    before = mark_of(str(image))
    assert mark_of(str(image)) == before and not is_written(str(image))
    with opened_by_qemu(image) as held:
        held.kill()
        held.wait()
    assert not is_written(str(image))


def test_a_file_that_took_the_place_of_another_has_another_mark(image: Path, tmp_path: Path) -> None:
    before = mark_of(str(image))
    copy = tmp_path / "copy"
    tool("cp", "--preserve=timestamps", image, copy)
    copy.replace(image)
    assert mark_of(str(image)) != before
    image.unlink()
    with pytest.raises(DiskUnreadable):
        mark_of(str(image))


def test_bitmaps_that_do_not_tell_of_every_change_are_not_usable(image: Path, tmp_path: Path) -> None:
    assert stored_bitmaps(str(image)) == usable_bitmaps(str(image)) == {"c0"}
    tool("qemu-img", "bitmap", "--add", "--disable", image, "off")
    assert stored_bitmaps(str(image)) == {"c0", "off"} and usable_bitmaps(str(image)) == {"c0"}
    with opened_by_qemu(image) as held:
        held.kill()  # as a host that loses its power
        held.wait()
    assert stored_bitmaps(str(image)) == {"c0", "off"} and "c0" not in usable_bitmaps(str(image))
    with pytest.raises(DiskUnreadable, match="inconsistent"), served(an_image(image), tmp_path, "c0"):
        pass
    with pytest.raises(DiskUnreadable, match="not found"), served(an_image(image), tmp_path, "c1"):
        pass
    with served(an_image(image), tmp_path) as source:
        assert len(content(source)) == 4 * MIB


def test_an_encrypted_image_is_opened_by_a_secret_that_no_command_line_shows(tmp_path: Path) -> None:
    path = tmp_path / "disk.luks"
    encrypted(path)
    image = DiskImage("vda", an_image(path, "luks", **{"key-secret": "vda-0"}).options, str(path), (("vda-0", b"odd"),))
    with served(image, tmp_path) as source:
        assert content(source) == bytes(MIB) or source.source.size_bytes == MIB
        assert "odd" not in command_lines(tmp_path)
    wrong = DiskImage("vda", image.options, str(path), (("vda-0", b"even"),))
    with pytest.raises(DiskUnreadable), served(wrong, tmp_path):
        pass


def command_lines(folder: Path) -> str:
    """Of our servers."""
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = process.read_bytes().decode(errors="replace")
        except OSError:
            continue
        lines += [text] if f"--socket={folder}" in text else []
    assert lines
    return " ".join(lines)


def test_writes_to_a_block_device_change_its_mark(tmp_path: Path) -> None:
    with loop_device(tmp_path / "backing", 4 * MIB) as device:
        before = mark_of(str(device))
        options = {"driver": "host_device", "filename": str(device), "cache": {"direct": True}}
        raw = DiskImage("vda", {"driver": "raw", "file": options, "read-only": True, "force-share": True}, str(device))
        with served(raw, tmp_path) as source:
            assert content(source) == b"\xa5" * 4 * MIB
            assert mark_of(str(device)) == before, "reading is no writing"
            tool("dd", "if=/dev/zero", f"of={device}", "bs=4096", "count=1", "oflag=direct")
            assert mark_of(str(device)) != before


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_what_an_image_lies_upon_is_read_from_the_headers(tmp_path: Path, compat: str) -> None:
    (tmp_path / "base.raw").write_bytes(bytes(MIB))
    create = ("qemu-img", "create", "-f", "qcow2", "-o", f"compat={compat}")
    tool(*create, "-b", "base.raw", "-F", "raw", tmp_path / "middle.qcow2")
    tool(*create, "-b", f"file:{tmp_path}/middle.qcow2", "-F", "qcow2", tmp_path / "top.qcow2")
    assert [(one.path, one.format) for one in backing_chain(str(tmp_path / "top.qcow2"))] == [
        (f"{tmp_path}/middle.qcow2", "qcow2"),
        (f"{tmp_path}/base.raw", "raw"),
    ]
    assert list(backing_chain(str(tmp_path / "base.raw"))) == list(backing_chain(str(tmp_path / "none"))) == []
    tool("qemu-img", "rebase", "-u", "-b", "json:{}", "-F", "raw", tmp_path / "top.qcow2")
    assert list(backing_chain(str(tmp_path / "top.qcow2"))) == [Backing("json:{}", "", "raw")]
    tool("qemu-img", "rebase", "-u", "-b", "", tmp_path / "top.qcow2")
    assert list(backing_chain(str(tmp_path / "top.qcow2"))) == []


def test_a_backing_file_without_a_format_is_told(tmp_path: Path) -> None:
    """Made by old tools: what is recorded of its format is taken out of the header."""
    tool("qemu-img", "create", "-f", "qcow2", tmp_path / "base", "1M")
    tool("qemu-img", "create", "-f", "qcow2", "-b", "base", "-F", "qcow2", tmp_path / "top")
    header = (tmp_path / "top").read_bytes()
    (tmp_path / "top").write_bytes(header.replace(b"\xe2\x79\x2a\xca", b"\xe2\x79\x2a\xcb", 1))
    assert list(backing_chain(str(tmp_path / "top"))) == [Backing("base", f"{tmp_path}/base", "")]


WORKER = """
import sys
from pathlib import Path
from seawall.agent.disk.image_source import ImageSource
from seawall.agent.hypervisor.port import DiskImage
from seawall.repository.clock import SystemClock
path, socket = sys.argv[1:]
options = {"driver": "qcow2", "file": {"driver": "file", "filename": path}, "read-only": True, "force-share": True}
source = ImageSource(DiskImage("vda", options, path), Path(socket), SystemClock())
print(source._server._process.pid, flush=True)
sys.stdin.read()
"""


def test_a_worker_that_is_killed_leaves_no_server(image: Path, tmp_path: Path) -> None:
    """The kernel closes its connections, and the server ends with its last client; the sweep takes the socket."""
    folder = captures_dir(tmp_path) / "dead"
    folder.mkdir(parents=True)
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(image), str(folder / "0.sock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        os.kill(worker.pid, signal.SIGKILL)
    await_true(lambda: not Path(f"/proc/{pid}").exists() or "Z" in state_of(pid), "qemu-nbd is gone", 30)
    assert sweep(MemoryHypervisor(), tmp_path, tmp_path, set(), set()).removed == [
        "Removed socket and scratch of attempt dead."
    ]
    assert not folder.exists()


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"
