"""The pure parts of `make bench`: figures from rows, and the document's shape."""

from typing import Any

import pytest

from benchmarks.images.ceph_store import count_requests
from benchmarks.images.measured import BORG, CASES, FOLDER, RESTIC, RGW, SEAWALL, Row
from benchmarks.images.profile_text import Doing, doing, parse_stacks, shares
from benchmarks.images.ratios import case_ratios, medians, rgw_ratios
from benchmarks.images.report import Findings


def row(tool: str, case: str, number: int, wall: float, stored: int = 100, target: str = RGW) -> Row:
    return Row(tool, target, case, number, wall, 2 * wall, 50.0, stored)


def test_ratios_are_medians_of_pairs_within_a_round() -> None:
    """A round in which the machine was slow for both tools does not weigh: the ratio of the medians would be 2/9."""
    rows = [row(SEAWALL, "full", number, wall) for number, wall in ((1, 1), (2, 2), (3, 30))]
    rows += [row(RESTIC, "full", number, wall) for number, wall in ((1, 9), (2, 4), (3, 60))]
    assert rgw_ratios(rows)["full"] == {"wall_ratio": 0.5, "cpu_ratio": 0.5, "stored_ratio": 1.0}


def test_the_bitmap_is_measured_against_the_others_next_day() -> None:
    rows = [
        row(SEAWALL, "next_day_bitmap", 1, 1, 30),
        row(SEAWALL, "next_day", 1, 4),
        row(RESTIC, "next_day", 1, 10, 60),
    ]
    found = rgw_ratios(rows)
    assert found["next_day_bitmap"] == {"wall_ratio": 0.1, "cpu_ratio": 0.1, "stored_ratio": 0.5}
    assert found["next_day"]["wall_ratio"] == 0.4


def test_a_restore_stores_nothing() -> None:
    rows = [row(SEAWALL, "restore", 1, 2, 0), row(RESTIC, "restore", 1, 8, 0)]
    assert rgw_ratios(rows)["restore"] == {"wall_ratio": 0.25, "cpu_ratio": 0.25, "stored_ratio": None}


def test_targets_and_tools_are_not_mixed() -> None:
    rows = [
        row(SEAWALL, "full", 1, 3),
        row(RESTIC, "full", 1, 6, target=FOLDER),
        row(BORG, "full", 1, 9, target=FOLDER),
    ]
    assert rgw_ratios(rows) == {}
    rows.append(row(SEAWALL, "full", 1, 3, target=FOLDER))
    assert case_ratios(rows, FOLDER, RESTIC)["full"]["wall_ratio"] == 0.5
    assert case_ratios(rows, FOLDER, BORG)["full"]["wall_ratio"] == pytest.approx(1 / 3, abs=1e-4)


def test_the_document_has_the_agreed_shape() -> None:
    rows = [row(tool, case, 1, 1.0) for tool in (SEAWALL, RESTIC) for case in CASES]
    found = Findings(rows, worker_peak_mib={"4G": 200.0, "2T": 210.0}, controller_idle={"rss_mib": 1, "cpu_percent": 2})
    document: dict[str, Any] = found.document()
    assert {"machine", "cases", "worker_peak_mib", "controller_idle", "folder", "borg", "rows"} <= set(document)
    assert set(document["cases"]) == set(CASES)
    assert all(set(figures) == {"wall_ratio", "cpu_ratio", "stored_ratio"} for figures in document["cases"].values())
    assert len(document["rows"]) == 2 * len(CASES)
    assert "next_day_bitmap" in found.table()


def test_medians_tell_every_tool_and_case_once() -> None:
    rows = [row(tool, "full", number, number) for tool in (SEAWALL, RESTIC) for number in (1, 2, 6)]
    lines = medians(rows)
    assert [(line["tool"], line["wall_seconds"], line["rounds"]) for line in lines] == [(SEAWALL, 2, 3), (RESTIC, 2, 3)]


def test_requests_are_counted_from_the_access_log() -> None:
    beast = '2026 1 beast: 0x7f: 10.77.0.11 - bench [22/Nov/2026] "{} /{} HTTP/1.1" {} 183 - "agent" - latency=0.004s\n'
    log = "".join(
        beast.format(method, path, status)
        for method, path, status in (
            ("PUT", "seawall/v1/p/ab", 200),
            ("PUT", "seawall/v1/p/cd?X-Amz-Date=1", 503),
            ("GET", "seawall?list-type=2", 200),
            ("HEAD", "seawall/none", 404),
            ("PUT", "seawall-bitmap/x", 200),
        )
    )
    log += "2026 1 ====== req done req=0x7f op status=0 http_status=200 ======\n"
    assert count_requests(log, "seawall") == {"GET": 1, "HEAD": 1, "PUT": 2, "failed": 1, "all": 4}


def test_a_profile_goes_by_the_innermost_telling_frame() -> None:
    raw = "main (worker.py:1);seal (flow.py:9);ZSTD_compressBlock (backend_c.so) 6\nmain (worker.py:1);advance (flow.py:7) 2\n"
    raw += "read_into (nbd.py:60);memcpy (libc.so.6) 2\n"
    assert shares(parse_stacks(raw)) == {"compression": 0.6, "rest (Python)": 0.2, "reading (NBD)": 0.2}


def test_a_thread_that_waits_does_no_work() -> None:
    assert (
        doing(["_worker (thread.py:81)", "PyThread_acquire_lock_timed (python3.11)", "0x7f (libc.so.6)"]) is Doing.WAIT
    )
    assert doing(["line (lines.py:22)", "read (libc.so.6)"]) is Doing.WAIT
    assert doing(["seal (flow.py:9)", "pthread_cond_timedwait (libc.so.6)", "0x7f (libc.so.6)"]) is Doing.INTERPRETER
    assert doing(["seal (flow.py:9)", "ZSTD_hash8 (zstd.c:2)"]) is Doing.WORK
