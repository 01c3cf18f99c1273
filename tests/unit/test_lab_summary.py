"""The demo's verdict is pessimistic: what was not compared is not identical, and any difference or leftover is not good."""

from collections.abc import Mapping
from datetime import UTC, datetime

from deploy.lab.answers import Point, PointDisk
from deploy.lab.summary import Summary

DISK = PointDisk("vda", 256 << 20, 70 << 20, 60 << 20, 50 << 20, "full", "no earlier point", 1500)
POINT = Point("01a20448-033d-7f5b-a3ec-a9cfdd7f612f", False, datetime(2026, 11, 22, tzinfo=UTC), (DISK,))


def test_nothing_compared_is_not_good() -> None:
    summary = Summary(points=[POINT], restored_guest_ok=True)
    assert not summary.good
    assert summary.plain()["points"][0]["disks"][0]["identical"] is False


def test_each_flaw_alone_spoils_it() -> None:
    same: dict[str, Mapping[str, str]] = {POINT.point_id: {"vda": ""}}
    different: dict[str, Mapping[str, str]] = {POINT.point_id: {"vda": "byte 1 differs"}}
    assert Summary(points=[POINT], differences=same, restored_guest_ok=True).good
    assert not Summary(points=[], differences=same, restored_guest_ok=True).good
    assert not Summary(points=[POINT], differences=different, restored_guest_ok=True).good
    assert not Summary(points=[POINT], differences=same, restored_guest_ok=False).good
    assert not Summary(points=[POINT], differences=same, restored_guest_ok=True, leftovers=["process 1"]).good


def test_the_file_has_the_documented_shape() -> None:
    summary = Summary(61.74, [POINT], {POINT.point_id: {"vda": ""}}, True)
    assert summary.plain() == {
        "seconds": 61.7,
        "points": [
            {
                "point": POINT.point_id,
                "kind": "full",
                "disks": [
                    {
                        "disk": "vda",
                        "virtual_bytes": 256 << 20,
                        "read_bytes": 70 << 20,
                        "new_bytes": 60 << 20,
                        "stored_bytes": 50 << 20,
                        "how": "full",
                        "why": "no earlier point",
                        "identical": True,
                    }
                ],
            }
        ],
        "restored_guest_ok": True,
        "leftovers": [],
    }
