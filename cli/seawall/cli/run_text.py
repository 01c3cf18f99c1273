"""Runs as people read them: a row in a list, or one run with its attempts."""

from collections.abc import Iterable
from datetime import datetime

from seawall.api.v1 import resources_pb2
from seawall.cli.output import Output
from seawall.cli.text import age, between, duration, local, size
from seawall.cli.view import word


def run_rows(runs: Iterable[resources_pb2.Run], now: datetime) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of a list of runs."""
    columns = ("#RUN", "KIND", "VM", "REPOSITORY", "STATE", "STARTED", "TOOK", "DETAIL")
    return columns, [_row(run, now) for run in runs]


def _row(run: resources_pb2.Run, now: datetime) -> tuple[str, ...]:
    took = between(run.created_at, run.ended_at) if run.HasField("ended_at") else ""
    state = word(run, "state").replace("_", " ")
    return (
        run.run_id,
        word(run, "kind"),
        run.vm_name,
        run.repository,
        state,
        age(run.created_at, now),
        took,
        detail(run),
    )


def detail(run: resources_pb2.Run) -> str:
    """The one thing worth knowing about a run in a list: why it failed, what it waits for, how far it is."""
    if run.state == resources_pb2.RUN_STATE_FAILED:
        return f"{run.failure.reason}: {run.failure.message}"
    if run.state in (resources_pb2.RUN_STATE_MISSED, resources_pb2.RUN_STATE_SKIPPED):
        return run.failure.message
    if run.state == resources_pb2.RUN_STATE_READY:
        return run.blocked_on
    if run.state == resources_pb2.RUN_STATE_ACTIVE and run.attempts:
        canceling = "canceling: " if run.cancel_requested else ""
        return canceling + _under_way(run, run.attempts[-1])
    return "; ".join(warning.reason for warning in run.warnings)


def _under_way(run: resources_pb2.Run, attempt: resources_pb2.Attempt) -> str:
    progress = attempt.progress
    if attempt.HasField("silent_since"):
        return silence(attempt)
    if run.blocked_on or progress.waiting_on:
        return f"waits for {run.blocked_on or progress.waiting_on}"
    return _so_far(progress, word(attempt, "state"))


def _so_far(progress: resources_pb2.AttemptProgress, otherwise: str = "") -> str:
    """ "reading vda 34 %"; `otherwise` where no phase was reported."""
    done = sum(disk.read_bytes for disk in progress.disks)
    planned = sum(disk.planned_bytes for disk in progress.disks)
    share = f"{100 * done // planned} %" if planned else ""
    return " ".join(filter(None, (progress.phase or otherwise, share)))


def silence(attempt: resources_pb2.Attempt) -> str:
    """Of an attempt whose host is not heard of any more: since when, and what it said last."""
    since = f"host {attempt.host_name} silent since {local(attempt.silent_since)}"
    so_far = _so_far(attempt.progress)
    return f"{since}; last known: {so_far}" if so_far else since


def pace(progress: resources_pb2.AttemptProgress) -> list[str]:
    """How fast it goes, how long it will still take, and what holds it up or bounds it; nothing of what nobody knows."""
    parts = [f"{size(progress.rate_bytes_per_second)}/s"] if progress.rate_bytes_per_second else []
    if progress.eta_seconds:
        parts.append(left(progress))
    if progress.waiting_on:
        parts.append(f"waiting: {progress.waiting_on}")
    elif progress.bottleneck:
        parts.append(f"bound by {progress.bottleneck}")
    return parts


def left(progress: resources_pb2.AttemptProgress) -> str:
    """How long it will still take, with the band where there is one; empty where nobody knows."""
    if not progress.eta_seconds:
        return ""
    band = ""
    if progress.eta_high_seconds:
        band = f" ({duration(progress.eta_low_seconds)} to {duration(progress.eta_high_seconds)})"
    return f"{duration(progress.eta_seconds)} left{band}"


def print_run(output: Output, run: resources_pb2.Run) -> None:
    """One run for people."""
    output.line(f"{word(run, 'kind')} of {run.vm_name}", style="bold")
    output.line(
        f"run         {run.run_id}\nstate       {word(run, 'state').replace('_', ' ')}\nrepository  {run.repository}"
    )
    if run.tenant not in ("", "default"):
        output.line(f"tenant      {run.tenant}")
    output.line(f"asked       {local(run.created_at)}")
    if run.policy:
        output.line(f"policy      {run.policy}, due {local(run.nominal_at)}")
    if run.HasField("ended_at"):
        output.line(f"ended       {local(run.ended_at)} (took {between(run.created_at, run.ended_at)})")
    if run.point_id:
        output.line(f"point       {run.point_id}")
    if run.blocked_on:
        output.line(f"waits for   {run.blocked_on}")
    if run.HasField("failure"):
        print_failure(output, run.failure)
    for warning in run.warnings:
        output.line(f"warning     {warning.message} ({warning.reason})", style="yellow")
    for number, chosen in enumerate(run.settings):
        output.line(f"{'' if number else 'settings':12}{chosen}")
    for number, call in enumerate(run.hooks):
        told = f": {call.outcome}" if call.outcome else ""
        again = f", {call.tries} tries" if call.tries > 1 else ""
        again += f", next {local(call.next_at)}" if call.HasField("next_at") else ""
        of = f" (attempt {call.attempt})" if call.attempt > 1 else ""
        output.line(
            f"{'' if number else 'hooks':12}{word(call, 'stage')} {call.hook}{of}: {word(call, 'state')}{again}{told}"
        )
    for attempt in run.attempts:
        output.line(f"\nattempt {attempt.attempt_no} on {attempt.host_name}: {word(attempt, 'state')}", style="bold")
        if attempt.HasField("failure") and attempt.failure != run.failure:
            print_failure(output, attempt.failure)
        elif attempt.state == resources_pb2.ATTEMPT_STATE_EXPIRED:
            output.line("expired     the host did not take it in time")
        if not attempt.HasField("ended_at"):
            _print_now(output, attempt)
        for note in attempt.progress.notes:
            output.line(f"note        {note}")
        print_disks(output, attempt.progress.disks, restored=run.kind == resources_pb2.RUN_KIND_RESTORE)


def _print_now(output: Output, attempt: resources_pb2.Attempt) -> None:
    """Of one under way. What stands below it is of then where the host is silent."""
    now = ", ".join(pace(attempt.progress))
    if attempt.HasField("silent_since"):
        output.line(f"silent      {silence(attempt)}", style="yellow")
        if attempt.HasField("given_up_at"):
            output.line(f"given up    {local(attempt.given_up_at)}, if the host stays away")
    elif now:
        output.line(f"now         {now}")


def print_failure(output: Output, failure: resources_pb2.Failure) -> None:
    """Reason, message, next step."""
    output.line(f"failed      {failure.message} ({failure.reason})", style="red")
    if failure.next_step:
        output.line(f"next        {failure.next_step}")


def print_disks(output: Output, disks: Iterable[resources_pb2.DiskProgress], *, restored: bool) -> None:
    """The disks of an attempt. Of a restore: how much of it is done, written and fetched, and where it lies."""
    amounts = (">DONE", ">WRITTEN", ">FETCHED") if restored else (">READ", ">NEW", ">STORED")
    words = ("WHERE",) if restored else ("HOW", "WHY")
    rows = [
        (
            disk.disk,
            *(size(each) for each in (disk.size_bytes, disk.read_bytes, disk.new_bytes, disk.stored_bytes)),
            *(() if restored else (word(disk, "how").replace("unspecified", "-"),)),
            disk.why,
        )
        for disk in disks
    ]
    if rows:
        output.table(("DISK", ">SIZE", *amounts, *words), rows, "")
