"""From rows to figures: medians per case, and ratios of what ran side by side. Pure."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from .measured import BACKUP_CASES, CASES, FOLDER, RESTIC, RESTORE, RGW, SEAWALL, Row

COUNTERPART = {"next_day_bitmap": "next_day"}
"""The other tools know no bitmaps: there, the same change is the case of that name."""


def case_ratios(rows: Sequence[Row], target: str, other: str) -> dict[str, dict[str, float | None]]:
    """Per case: the median over rounds of (Seawall / other), paired within a round. None where there is nothing to divide by."""
    found = {}
    for case in CASES:
        pairs = list(_pairs(rows, target, other, case))
        if pairs:
            stored = None if case == RESTORE else _median_ratio(pairs, "stored_bytes")
            wall, cpu = (_median_ratio(pairs, field) for field in ("wall_seconds", "cpu_seconds"))
            found[case] = {"wall_ratio": wall, "cpu_ratio": cpu, "stored_ratio": stored}
    return found


def medians(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One line per target, tool and case, in the order of the cases."""
    return [
        _median_line(chosen)
        for target in (RGW, FOLDER)
        for case in (*BACKUP_CASES, RESTORE)
        for tool in dict.fromkeys(row.tool for row in rows)
        if (chosen := [row for row in rows if (row.target, row.case, row.tool) == (target, case, tool)])
    ]


def _median_line(rows: Sequence[Row]) -> dict[str, Any]:
    first = rows[0]
    return {
        "target": first.target,
        "case": first.case,
        "tool": first.tool,
        "rounds": len(rows),
        "wall_seconds": round(median(row.wall_seconds for row in rows), 2),
        "cpu_seconds": round(median(row.cpu_seconds for row in rows), 2),
        "store_cpu_seconds": round(median(row.store_cpu_seconds for row in rows), 2),
        "peak_mib": round(max(row.peak_mib for row in rows)),
        "stored_mib": round(median(row.stored_bytes for row in rows) / (1 << 20), 1),
        "requests": round(median(row.requests.get("all", 0) for row in rows)),
    }


def _pairs(rows: Iterable[Row], target: str, other: str, case: str) -> Iterable[tuple[Row, Row]]:
    known = {(row.tool, row.case, row.round): row for row in rows if row.target == target}
    counterpart = COUNTERPART.get(case, case)
    for (tool, found, number), row in known.items():
        beside = known.get((other, counterpart, number))
        if tool == SEAWALL and found == case and beside is not None:
            yield row, beside


def _median_ratio(pairs: Sequence[tuple[Row, Row]], field: str) -> float | None:
    ratios = [getattr(ours, field) / getattr(theirs, field) for ours, theirs in pairs if getattr(theirs, field)]
    return round(median(ratios), 4) if ratios else None


def rgw_ratios(rows: Sequence[Row]) -> dict[str, dict[str, float | None]]:
    """What the numbers to reach are about: Seawall / restic on the gateway."""
    return case_ratios(rows, RGW, RESTIC)
