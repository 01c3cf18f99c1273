"""The screen of all runs."""

import io

from rich.console import Console

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.watch_all import Fleet, screen

GIB = 1 << 30


def a_run(number: int, **fields: object) -> resources_pb2.Run:
    run = resources_pb2.Run(
        run_id=f"run-{number:03}",
        kind=resources_pb2.RUN_KIND_BACKUP,
        vm_name=f"vm{number:03}",
        state=resources_pb2.RUN_STATE_ACTIVE,
        **fields,  # type: ignore[arg-type]
    )
    run.created_at.FromSeconds(1_000_000 + number)
    return run


def reading(number: int, **progress: object) -> resources_pb2.Run:
    disk = resources_pb2.DiskProgress(disk="vda", size_bytes=4 * GIB, planned_bytes=4 * GIB, read_bytes=GIB)
    report = resources_pb2.AttemptProgress(disks=[disk], **progress)  # type: ignore[arg-type]
    return a_run(number, attempts=[resources_pb2.Attempt(host_name="kvm1", progress=report)])


def told(fleet: Fleet, *runs: resources_pb2.Run) -> Fleet:
    for run in runs:
        fleet.take(operator_pb2.WatchRunsResponse(run=run))
    return fleet


def shown(fleet: Fleet, height: int = 40) -> list[str]:
    console = Console(file=io.StringIO(), width=120, height=height, force_terminal=False, highlight=False)
    console.print(screen(fleet, height))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in text.splitlines()]


def test_each_run_says_how_far_it_is_and_what_holds_it_up() -> None:
    fleet = told(
        Fleet(),
        reading(2, rate_bytes_per_second=100 << 20, eta_seconds=90, eta_low_seconds=60, eta_high_seconds=180),
        reading(1, bottleneck="store"),
        reading(3, waiting_on="guest latency", bottleneck="source"),
    )
    lines = shown(fleet)
    assert lines[0] == "3 runs under way, 0 waiting"
    assert lines[2].startswith("vm001  kvm1") and lines[2].endswith("bound by store"), "longest first"
    assert "1:30 left (1:00 to 3:00)" in lines[3] and "MiB/s" in lines[3]
    assert lines[4].endswith("waits for guest latency")


def test_who_waits_is_counted_by_what_for_and_ends_are_remembered() -> None:
    fleet = Fleet()
    waiting = [a_run(n, blocked_on="host kvm1: 2 of 2 runs") for n in range(30)] + [a_run(50)]
    for run in waiting:
        run.state = resources_pb2.RUN_STATE_READY
    failed = a_run(60, failure=resources_pb2.Failure(reason="SCRATCH_FULL", message="No room."))
    failed.state = resources_pb2.RUN_STATE_FAILED
    failed.ended_at.FromSeconds(1_000_075)
    lines = shown(told(fleet, *waiting, failed, failed))
    assert lines[0] == "0 runs under way, 31 waiting"
    assert "    30  host kvm1: 2 of 2 runs" in lines and "     1  a place" in lines
    assert [line for line in lines if "vm060" in line] == ["failed  vm060  15.0 s  SCRATCH_FULL: No room."]


def test_more_runs_than_lines_are_counted() -> None:
    fleet = told(Fleet(), *(reading(number) for number in range(100)))
    lines = shown(fleet, 24)
    assert len(lines) <= 24 and lines[-1] == f"… and {100 - (len(lines) - 3)} more"


def test_a_snapshot_forgets_what_was_open() -> None:
    fleet = told(Fleet(), reading(1))
    fleet.take(operator_pb2.WatchRunsResponse(snapshot=True))
    assert fleet.open == {}
    fleet.take(operator_pb2.WatchRunsResponse(resume_token="a.7"))
    assert fleet.resume_token == "a.7"
