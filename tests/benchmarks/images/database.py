"""A table file as a row store keeps it: pages of 8 KiB with a header, item pointers and tuples of plausible columns."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .recipe import CHANGED_PAGES, DATABASE_PAGES, PAGE_BYTES

_TUPLES = 60
_POINTERS_OFFSET = 24
_TUPLE = np.dtype(
    [
        ("xmin", "<u4"),
        ("xmax", "<u4"),
        ("field3", "<u4"),
        ("page", "<u4"),
        ("item", "<u2"),
        ("mask2", "<u2"),
        ("mask", "<u2"),
        ("hoff", "u1"),
        ("pad", "u1"),
        ("id", "<i8"),
        ("created", "<i8"),
        ("amount", "<f8"),
        ("token", "V12"),
        ("name", "S24"),
        ("city", "S16"),
        ("note", "S24"),
        ("rest", "V8"),
    ]
)
_PAGE_HEADER = np.dtype([("lsn", "<u8"), ("checksum", "<u2"), ("flags", "<u2"), ("bounds", "<u2", 4)])
_NAMES = [
    f"{first} {last}"
    for first in ("Anna", "Ben", "Carla", "David", "Elif")
    for last in ("Meyer", "Novak", "Rossi", "Smith")
]
_CITIES = ["Berlin", "Lisboa", "Wien", "Oslo", "Praha", "Roma", "Gent", "Turku", "Leeds", "Brno", "Porto", "Graz"]
_NOTES = ["paid", "open", "returned, see ticket", "express", "gift", "", "", "second reminder sent"]
_BATCH = 4096


def write_table(path: Path, seed: int) -> None:
    """A new table of DATABASE_PAGES pages."""
    random = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        for first in range(0, DATABASE_PAGES, _BATCH):
            file.write(_pages(random, first, min(_BATCH, DATABASE_PAGES - first)).tobytes())


def change_pages(path: Path, seed: int) -> None:
    """A day's updates: CHANGED_PAGES pages in random places get new rows' values and a new log position, written in place."""
    random = np.random.default_rng(seed)
    chosen = random.choice(DATABASE_PAGES, CHANGED_PAGES, replace=False)
    with open(path, "r+b", buffering=0) as file:
        for lsn, number in enumerate(chosen.tolist()):
            file.seek(number * PAGE_BYTES)
            page = np.frombuffer(bytearray(file.read(PAGE_BYTES)), dtype=np.uint8)
            _update(page, random, 0x2_0000_0000 + lsn * 168)
            file.seek(number * PAGE_BYTES)
            file.write(page.tobytes())


def _pages(random: np.random.Generator, first: int, count: int) -> NDArray[np.uint8]:
    pages = np.zeros((count, PAGE_BYTES), dtype=np.uint8)
    header: NDArray[Any] = np.zeros(count, dtype=_PAGE_HEADER)
    header["lsn"] = 0x1_0000_0000 + (first + np.arange(count)) * 8216
    header["checksum"] = random.integers(0, 65536, count)
    tuples_offset = PAGE_BYTES - _TUPLES * _TUPLE.itemsize
    header["bounds"] = [_POINTERS_OFFSET + 4 * _TUPLES, tuples_offset, PAGE_BYTES, PAGE_BYTES | 4]
    pages[:, : _PAGE_HEADER.itemsize] = header.view(np.uint8).reshape(count, -1)
    pointers = (
        (tuples_offset + np.arange(_TUPLES) * _TUPLE.itemsize).astype("<u4") | (_TUPLE.itemsize << 17) | (1 << 15)
    )
    pages[:, _POINTERS_OFFSET : _POINTERS_OFFSET + 4 * _TUPLES] = pointers.view(np.uint8)
    tuples = _tuples(random, first, count)
    pages[:, tuples_offset:] = tuples.view(np.uint8).reshape(count, -1)
    return pages


def _tuples(random: np.random.Generator, first: int, count: int) -> NDArray[Any]:
    total = count * _TUPLES
    rows: NDArray[Any] = np.zeros(total, dtype=_TUPLE)
    ids = first * _TUPLES + np.arange(total)
    rows["xmin"] = 730 + ids // 2000
    rows["page"] = ids // _TUPLES
    rows["item"] = ids % _TUPLES + 1
    rows["mask"], rows["mask2"], rows["hoff"] = 0x0902, 7, 24
    rows["id"] = ids
    rows["created"] = 750_000_000_000_000 + np.cumsum(random.integers(1, 90_000_000, total))
    rows["amount"] = np.round(random.gamma(2.0, 40.0, total), 2)
    rows["token"] = np.frombuffer(random.bytes(12 * total), dtype="V12")
    rows["name"] = _chosen(random, _NAMES, total)
    rows["city"] = _chosen(random, _CITIES, total)
    rows["note"] = _chosen(random, _NOTES, total)
    return rows


def _chosen(random: np.random.Generator, words: list[str], count: int) -> NDArray[Any]:
    return np.array([word.encode() for word in words])[random.integers(0, len(words), count)]


def _update(page: NDArray[np.uint8], random: np.random.Generator, lsn: int) -> None:
    page[:8] = np.frombuffer(lsn.to_bytes(8, "little"), dtype=np.uint8)
    rows: NDArray[Any] = page[PAGE_BYTES - _TUPLES * _TUPLE.itemsize :].view(_TUPLE)
    for row in random.choice(_TUPLES, int(random.integers(1, 5)), replace=False).tolist():
        rows["xmin"][row] = 12_000 + lsn % 997
        rows["amount"][row] = round(float(random.gamma(2.0, 40.0)), 2)
        rows["token"][row] = random.bytes(12)
        rows["note"][row] = _NOTES[int(random.integers(0, len(_NOTES)))].encode()
