"""The judge is worth something: a good round is good, and each planted lie is found by its name."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from .drawing import draw_round
from .evidence import ConsoleLine, DiskVerdict, Evidence, GuestLook, Interval, Known, PointLook, RunLook
from .judge import FREEZE_LIMIT_MS, STALL_LIMIT_MS, Findings, judge
from .report import Outcome, Report
from .rounds import Played

LENGTH = 64 << 20
KNOWN = Known({"vda": "a1", "vdb": "b2"}, {"a1": frozenset({LENGTH}), "b2": frozenset({LENGTH})}, {"a1": 10, "b2": 12})
VDA = DiskVerdict(0, -1, "a1", 15, 40, LENGTH, {"a1": 15, "b2": 20})
VDB = DiskVerdict(0, -1, "b2", 20, 39, LENGTH, {"a1": 14, "b2": 20})
POINT = PointLook("p1", "vm", KNOWN, {"vda": VDA, "vdb": VDB})
RUN = RunLook("r1", "backup", "succeeded", {}, "p1")


def said(*lines: tuple[float, str]) -> tuple[ConsoleLine, ...]:
    return tuple(ConsoleLine(at, text) for at, text in lines)


def ticks(began: float, ended: float, first: int = 1) -> list[tuple[float, str]]:
    count = int((ended - began) * 4)
    return [
        (began + at / 4, f"SOAK-TICK ms={at * 250} global={first + at} errors=0 slow=3 a1:{first + at}")
        for at in range(count)
    ]


def frozen(began: float, seconds: float) -> list[tuple[float, str]]:
    return [(began, "SOAK-FROZEN ms=1000"), (began + seconds, f"SOAK-THAWED ms=9 held={round(seconds * 1000)}")]


GUEST = GuestLook(
    "vm", said((0, "SOAK-READY ms=1 disks=2"), *ticks(0.1, 5), *frozen(5, 0.4), *ticks(5.5, 30, 99)), (), (), 30
)
GOOD = Evidence("1/0", (POINT,), (GUEST,), (RUN,), frozenset({"p1"}), ())


def guest_said(*lines: tuple[float, str], **more: tuple[Interval, ...]) -> Evidence:
    return replace(GOOD, guests=(replace(GUEST, lines=said(*lines), **more),))  # type: ignore[arg-type]


def with_disk(target: str, **lie: object) -> Evidence:
    disks = {**POINT.disks, target: replace(POINT.disks[target], **lie)}  # type: ignore[arg-type]
    return replace(GOOD, points=(replace(POINT, disks=disks),))


def test_a_good_round_is_good() -> None:
    assert judge(GOOD) == Findings(longest_freeze_ms=400, longest_stall_ms=judge(GOOD).longest_stall_ms)
    assert judge(GOOD).all == () and judge(GOOD).longest_stall_ms < 1000


LIES: dict[str, tuple[Evidence, Callable[[Findings], object], str]] = {
    "a bitmap that was wrong, though the backup noticed": (
        replace(GOOD, points=(replace(POINT, doubted=("vda",)),)),
        lambda found: found.wrong_points,
        "called clean what had changed",
    ),
    "a wrong byte": (
        with_disk("vdb", wrong_bytes=1, first=777),
        lambda found: found.wrong_points,
        "1 wrong bytes, the first at 777",
    ),
    "a missing disk": (
        replace(GOOD, points=(replace(POINT, disks={"vda": VDA}),)),
        lambda found: found.wrong_points,
        "lacks vdb",
    ),
    "another disk": (with_disk("vdb", disk_id="c3"), lambda found: found.wrong_points, "is disk c3, not b2"),
    "a cut disk": (with_disk("vda", length_bytes=LENGTH - 512), lambda found: found.wrong_points, "bytes long"),
    "an old point": (
        replace(GOOD, points=(replace(POINT, known=replace(KNOWN, done={"a1": 16})),)),
        lambda found: found.wrong_points,
        "ends with operation 15; 16 were done",
    ),
    "another instant": (with_disk("vdb", done=21), lambda found: found.wrong_points, "another instant"),
    "an instant before": (with_disk("vdb", done=19), lambda found: found.wrong_points, "another instant"),
    "a failed write": (
        guest_said(*ticks(0, 5), (5, "SOAK-ERROR ms=5 disk=vda what=data operation=7 errno=28"), *ticks(5, 30, 50)),
        lambda found: found.write_errors,
        "errno=28",
    ),
    "a late thaw": (
        guest_said(*ticks(0, 5), *frozen(5, 10.2), *ticks(15.3, 30, 50)),
        lambda found: found.freezes,
        "frozen for 10200 ms",
    ),
    "a guest that is frozen still": (
        guest_said(*ticks(0, 28), (28.5, "SOAK-FROZEN ms=1")),
        lambda found: found.freezes,
        "frozen still",
    ),
    "a guest that stood": (guest_said(*ticks(0, 5), *ticks(26, 30, 50)), lambda found: found.freezes, "wrote nothing"),
    "a guest that stopped writing": (guest_said(*ticks(0, 5)), lambda found: found.freezes, "wrote nothing"),
    "a leftover": (replace(GOOD, leftovers=("alpha: job of vm",)), lambda found: found.leftovers, "job of vm"),
    "a lost point": (replace(GOOD, points_there=frozenset()), lambda found: found.broken, "p1 is gone"),
    "a point that nobody compared": (
        replace(GOOD, points=()),
        lambda found: found.broken,
        "p1 was never compared",
    ),
    "a point of no run": (
        replace(GOOD, points_there=frozenset({"p1", "p2"})),
        lambda found: found.broken,
        "p2 is there",
    ),
    "a run without an end": (
        replace(GOOD, runs=(RUN, RunLook("r2", "backup", "running"))),
        lambda found: found.broken,
        "is running",
    ),
    "a point of a run that failed": (
        replace(GOOD, runs=(replace(RUN, state="canceled"),)),
        lambda found: found.broken,
        "p1 is there, of no run that succeeded",
    ),
    "a failure that says nothing": (
        replace(GOOD, runs=(RUN, RunLook("r2", "backup", "failed", {"reason": "INTERNAL_ERROR"}))),
        lambda found: found.broken,
        "without telling why",
    ),
    "what could not be done": (replace(GOOD, trouble=("no worker",)), lambda found: found.broken, "no worker"),
}


@pytest.mark.parametrize("name", LIES)
def test_each_lie_is_found(name: str) -> None:
    evidence, where, sentence = LIES[name]
    found = judge(evidence)
    assert any(sentence in each for each in found.all), found
    assert where(found), "it is found by its own name"
    assert len(found.all) == 1, found.all


def test_rounds_that_made_no_point_prove_nothing() -> None:
    told = RunLook(
        "r1", "backup", "failed", {"reason": "STORE_FULL", "message": "no room is left", "next_step": "room"}
    )
    nothing = replace(GOOD, points=(), runs=(told,), points_there=frozenset())
    assert judge(nothing).all == ()
    outcomes = [Outcome(draw_round("1/0"), judge(one), Played(one, [], {}), 1.0) for one in (nothing, GOOD)]
    assert not Report("1").good and not Report("1", outcomes[:1]).good
    assert Report("1", outcomes).good


def test_what_a_fault_explains_is_no_lie() -> None:
    """A guest that was stopped, or that nobody could reach, while it was frozen; one that was off."""
    stopped, deaf = (Interval(5.5, 20),), (Interval(6, 18),)
    long_freeze = (*ticks(0, 5), *frozen(5, 17), *ticks(22, 30, 50))
    assert judge(guest_said(*long_freeze)).freezes
    assert not judge(guest_said(*long_freeze, absent=stopped)).freezes
    assert not judge(guest_said(*long_freeze, deaf=deaf)).freezes
    off = (*ticks(0, 5), *ticks(29, 30, 50))
    assert judge(guest_said(*off)).freezes and not judge(guest_said(*off, absent=(Interval(5, 28),))).freezes


def test_a_fault_explains_no_more_than_itself() -> None:
    """Frozen for longer than it may be beside the time that it was stopped: overlapping excuses count once."""
    lines = (*ticks(0, 5), *frozen(5, 20), *ticks(25, 30, 50))
    excuses = (Interval(5, 7), Interval(6, 8))
    found = judge(guest_said(*lines, absent=excuses))
    assert found.freezes and found.longest_freeze_ms == 14_000 and FREEZE_LIMIT_MS < 14_000 < STALL_LIMIT_MS


def test_a_guest_that_died_frozen_was_frozen_until_then() -> None:
    lines = (*ticks(0, 5), (5.0, "SOAK-FROZEN ms=1"), (25.0, "SOAK-READY ms=1 disks=2"), *ticks(25, 30, 50))
    assert judge(guest_said(*lines, absent=(Interval(7, 25),))).longest_freeze_ms == 2000
    assert judge(guest_said(*lines, absent=(Interval(20, 25),))).freezes
