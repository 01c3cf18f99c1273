"""What a worker reads and writes over NBD passes through memory of a fixed size, and arrives as it was."""

import os
from pathlib import Path

import numpy as np

from seawall.agent.disk import qcow2
from seawall.repository.clock import SystemClock

PIECE_BYTES = 5 * 1024 * 1024 + 512
PIECES = 50
GROWTH_BYTES = 48 * 1024 * 1024


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def content(number: int) -> bytes:
    return np.random.default_rng(number).bytes(PIECE_BYTES)


def test_bytes_arrive_and_memory_stays(tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    qcow2.create(disk, PIECES * PIECE_BYTES)
    server = qcow2.serve(disk, tmp_path / "nbd.sock", SystemClock())
    connection = server.connect()
    buffer = memoryview(bytearray(PIECE_BYTES))
    before = resident_bytes()
    for number in range(PIECES):
        connection.write(number * PIECE_BYTES, memoryview(content(number)))
    for number in range(PIECES):
        connection.read_into(number * PIECE_BYTES, buffer)
        assert buffer == content(number)
    grown = resident_bytes() - before
    connection.close()
    server.wait()
    assert grown < GROWTH_BYTES, f"{grown >> 20} MiB more after {PIECES * PIECE_BYTES >> 20} MiB written and read"
