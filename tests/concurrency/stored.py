"""What the repository holds, read from the bucket and the controller's database: copies of chunks, who stored them, points."""

import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from seawall.repository.format.layout import PointName
from support.stored_points import StoredPoints

from .bound import NEVER, Began, Copy, Doubled, doubled

TENANT = "default"


@dataclass(frozen=True)
class Pack:
    host_id: str
    attempt_id: str
    generation: int
    verified_us: int


class Stored(StoredPoints):
    """And who stored what, as the controller's database says."""

    def doubled(self) -> Doubled:
        """Of all data packs that are STORED now."""
        packs, attempts = self._packs(), self._attempts()
        copies, chunk_of = [], dict[tuple[bytes, int], bytes]()
        for pack_id, pack in packs.items():
            tail = self.repository.read_tail(TENANT, pack_id, pack.generation)
            for row in tail.table:
                chunk_id = row["chunk_id"].tobytes()
                chunk_of[pack_id, int(row["slot"])] = chunk_id
                reported_us = attempts[pack.attempt_id][1].us_ended
                copies.append(
                    Copy(
                        chunk_id, int(row["stored_bytes"]), pack.attempt_id, pack.host_id, reported_us, pack.verified_us
                    )
                )
        began = {attempt_id: began for attempt_id, (_, ended, began) in attempts.items()}
        of_point = {point_id: attempt_id for attempt_id, (point_id, _, _) in attempts.items()}
        holders: dict[bytes, set[str]] = defaultdict(set)
        for point in self.points():
            for pack_id, slots in self.repository.read_refmap(*_parts(point)).slots().items():
                for slot in slots.tolist():
                    if (pack_id, slot) in chunk_of:  # not of a meta pack
                        holders[chunk_of[pack_id, slot]].add(of_point[point.point_id])
        return doubled(copies, began, {chunk: frozenset(some) for chunk, some in holders.items()})

    def _packs(self) -> dict[bytes, Pack]:
        rows = self._rows(
            "SELECT id, host_id, attempt_id, generation, verified_us FROM packs WHERE state = 'STORED' AND meta = 0"
        )
        return {bytes(row[0]): Pack(row[1], row[2], row[3], row[4] if row[4] > 0 else NEVER) for row in rows}

    def _attempts(self) -> dict[str, tuple[str, "Ended", Began]]:
        rows = self._rows("SELECT id, run_id, host_id, created_us, ended_us FROM attempts")
        return {row[0]: (row[1], Ended(row[4] or NEVER), Began(row[2], row[3])) for row in rows}

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()


@dataclass(frozen=True)
class Ended:
    us_ended: int


def _parts(point: PointName) -> tuple[str, str, str]:
    return point.tenant, point.vm_id, point.point_id
