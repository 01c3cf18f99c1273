"""Maintenance jobs as people read them: a row in a list, or one job with what it found."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby

from seawall.api.v1 import resources_pb2
from seawall.cli.output import Output
from seawall.cli.run_text import print_failure
from seawall.cli.text import age, between, count, duration, local, size
from seawall.cli.view import word

GROUPS = {
    "goes": "goes now",
    "goes_later": "goes later",
    "stays": "stays",
}
_BYTES = ("bytes", "_bytes", "bytes_back")
POINTS_SHOWN = 5


def job_rows(jobs: Iterable[resources_pb2.Job], now: datetime) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of a list of jobs."""
    columns = ("#JOB", "KIND", "REPOSITORY", "STATE", "STARTED", "TOOK", "DETAIL")
    return columns, [_row(job, now) for job in jobs]


def _row(job: resources_pb2.Job, now: datetime) -> tuple[str, ...]:
    over = job.HasField("started_at") and job.HasField("ended_at")
    took = between(job.started_at, job.ended_at) if over else ""
    return (job.job_id, kind_text(job), job.repository, word(job, "state"), age(job.created_at, now), took, detail(job))


def kind_text(job: resources_pb2.Job) -> str:
    """ "collect", "collect (plan)", "check 5 %"."""
    if job.spec.plan_only:
        return f"{word(job, 'kind')} (plan)"
    if job.spec.read_data_percent:
        return f"{word(job, 'kind')} {job.spec.read_data_percent} %"
    return word(job, "kind")


def detail(job: resources_pb2.Job) -> str:
    """The one thing worth knowing in a list: why it failed or waits, how far it is, what came of it."""
    if job.state == resources_pb2.JOB_STATE_FAILED:
        return f"{job.failure.reason}: {job.failure.message}"
    if job.state == resources_pb2.JOB_STATE_READY and job.HasField("failure"):
        return f"waits: {job.failure.message}"
    if job.state == resources_pb2.JOB_STATE_ACTIVE:
        return ("canceling: " if job.cancel_requested else "") + progress_text(job.progress)
    if job.state != resources_pb2.JOB_STATE_SUCCEEDED:
        return ""
    return outcome_text(job)


def outcome_text(job: resources_pb2.Job) -> str:
    """What came of a job that succeeded, in a few words."""
    result = job.result
    if job.kind == resources_pb2.JOB_KIND_COLLECT:
        now, later = (_bytes_of(result, group) for group in ("goes", "goes_later"))
        come = (
            f"{size(now)} would come back" if job.spec.plan_only else f"{size(result.figures['bytes_back'])} came back"
        )
        return f"{come}, {size(later)} after the grace period" if later else come
    return count(result.findings_total, "finding") if result.findings_total else "nothing wrong"


def _bytes_of(result: resources_pb2.JobResult, group: str) -> int:
    return sum(line.figures["bytes"] for line in result.lines if line.group == group)


def progress_text(progress: resources_pb2.JobProgress) -> str:
    """ "marking, 12 of 40 points, deleted packs 3"."""
    parts = [progress.phase or "working"]
    if progress.total:
        done, total = (figure(progress.unit, number) for number in (progress.done, progress.total))
        parts.append(f"{done} of {total}" + (f" {progress.unit}" if progress.unit != "bytes" else ""))
    parts += [f"{name.replace('_', ' ')} {figure(name, value)}" for name, value in sorted(progress.figures.items())]
    return ", ".join(parts)


def figure(name: str, value: int) -> str:
    """Bytes as sizes, times as durations, all else as it is."""
    if name.endswith("milliseconds"):
        return duration(value / 1000)
    return size(value) if name.endswith(_BYTES) else str(value)


def print_job(output: Output, job: resources_pb2.Job) -> None:
    """One job for people."""
    output.line(f"{kind_text(job)} of {job.repository}", style="bold")
    output.line(f"job         {job.job_id}\nstate       {word(job, 'state')}\nasked       {local(job.created_at)}")
    if job.spec.source_url:
        output.line(f"from        {job.spec.source_url}")
    if job.HasField("started_at") and job.HasField("ended_at"):
        output.line(f"ended       {local(job.ended_at)} (took {between(job.started_at, job.ended_at)})")
    if job.state == resources_pb2.JOB_STATE_ACTIVE:
        output.line(f"progress    {detail(job)}")
    if job.state == resources_pb2.JOB_STATE_READY and job.HasField("failure"):
        output.line(f"waits       {job.failure.message} ({job.failure.reason})", style="yellow")
    elif job.HasField("failure"):
        print_failure(output, job.failure)
    if job.HasField("result"):
        output.line(f"outcome     {outcome_text(job)}", style="red" if job.result.findings_total else None)
        print_result(output, job.result)


def print_result(output: Output, result: resources_pb2.JobResult) -> None:
    """Lines by group, figures that are not 0, notes, findings."""
    for group, lines in groupby(result.lines, key=lambda line: line.group):
        output.line(f"\n{GROUPS.get(group, group.replace('_', ' '))}", style="bold")
        output.table(("", ">", ">"), [_line(line) for line in lines], "")
    if figures := _figure_rows(result.figures):
        output.line()
        output.table(("", ">"), figures, "")
    for note in result.notes:
        output.line(f"note        {note}", style="yellow")
    for finding in result.findings:
        _print_finding(output, finding)
    if result.findings_total > len(result.findings):
        output.line(f"… and {count(result.findings_total - len(result.findings), 'more finding')}.", style="red")


def _line(line: resources_pb2.JobLine) -> tuple[str, ...]:
    size_bytes = line.figures.get("bytes", 0)
    of = "object" if "objects" in line.figures else "pack"
    return f"  {line.message or line.reason}", count(line.figures.get(f"{of}s", 0), of), size(size_bytes)


def _figure_rows(figures: Mapping[str, int]) -> list[tuple[str, str]]:
    shown = sorted((name, value) for name, value in figures.items() if value)
    return [
        (f"  {name.removesuffix('milliseconds').replace('_', ' ') or 'time'}", figure(name, value))
        for name, value in shown
    ]


def _print_finding(output: Output, finding: resources_pb2.Finding) -> None:
    output.line(f"\n{finding.object}: {finding.message} ({finding.reason})", style="red")
    if finding.points:
        shown = ", ".join(finding.points[:POINTS_SHOWN])
        more = finding.points_total - min(len(finding.points), POINTS_SHOWN)
        output.line(f"  affects   {shown}" + (f" and {more} more" if more > 0 else ""))
    if finding.next_step:
        output.line(f"  next      {finding.next_step}")
