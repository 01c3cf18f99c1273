"""Policies as people read them: what a file changes, how a policy stands, what it will do."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from seawall.api.v1 import policy_pb2
from seawall.cli.output import Output
from seawall.cli.text import age, age_text, count, duration, local, size
from seawall.cli.view import word

VMS_SHOWN = 50
_STYLE = {"+": "green", "-": "red"}


def print_changes(output: Output, changes: Sequence[policy_pb2.PolicyChange], *, plan_only: bool) -> None:
    """What becomes of each policy, its difference, and what was probably not meant."""
    for change in changes:
        output.line(_change(change, plan_only=plan_only), style="bold")
        if plan_only or change.kind != policy_pb2.POLICY_CHANGE_KIND_CREATED:
            for line in change.difference:
                output.line(f"  {line}", style=_STYLE.get(line[:1]))
        for warning in change.warnings:
            output.line(f"  warning: {warning}", style="yellow")
        if change.points_to_delete:
            verb = "would be deleted" if plan_only else "will be deleted"
            which = " `seawall policy preview -f FILE --points` names them." if plan_only and len(changes) == 1 else ""
            output.line(f"  {count(change.points_to_delete, 'point')} {verb} by its retention.{which}", style="yellow")


def _change(change: policy_pb2.PolicyChange, *, plan_only: bool) -> str:
    vms = f"protects {count(change.vm_count, 'VM')}"
    if change.kind == policy_pb2.POLICY_CHANGE_KIND_UNCHANGED:
        return f"{change.policy}: unchanged, revision {change.revision}, {vms}"
    done = word(change, "kind")
    return f"{change.policy}: {'would be ' if plan_only else ''}{done}, revision {change.revision}, {vms}"


def policy_rows(policies: Sequence[policy_pb2.Policy]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of a list."""
    columns = ("POLICY", ">REV", ">VMS", ">POINTS", "NEXT", "CALENDAR", "REPOSITORY", "RPO", "SELECTS")
    return columns, [_row(policy) for policy in policies]


def _row(policy: policy_pb2.Policy) -> tuple[str, ...]:
    return (
        policy.name,
        str(policy.revision),
        str(policy.vm_count),
        str(policy.point_count),
        "paused" if policy.paused else local(policy.next_at) if policy.HasField("next_at") else "never",
        f"{policy.cron} {policy.zone}",
        policy.repository,
        _rpo(policy),
        policy.selection,
    )


def _rpo(policy: policy_pb2.Policy) -> str:
    if not policy.rpo_seconds:
        return "-"
    broken = f", {count(policy.rpo_breached, 'VM')} late" if policy.rpo_breached else ""
    return f"{age_text(policy.rpo_seconds)}{broken}"


def _verify(seconds: int, late: int) -> str:
    """ "each point every 7 d, 3 points late"."""
    return f"each point every {age_text(seconds)}" + (f", {count(late, 'point')} late" if late else "")


def print_policy(output: Output, policy: policy_pb2.Policy) -> None:
    """How one stands, then its document."""
    output.line(f"{policy.name}, revision {policy.revision} of {local(policy.applied_at)}", style="bold")
    output.line(f"protects    {count(policy.vm_count, 'VM')} ({policy.selection})")
    output.line(f"points      {policy.point_count}; keeps {policy.retention}")
    output.line(f"next        {_row(policy)[4]}\nrpo         {_rpo(policy)}")
    if policy.verify_seconds:
        output.line(f"verify      {_verify(policy.verify_seconds, policy.verify_late)}")
    for number, text in enumerate(policy.hooks):
        output.line(f"{'' if number else 'hooks':12}{text}")
    if policy.hooks_failed:
        output.line(f"            {count(policy.hooks_failed, 'call')} failed for good within a week", style="yellow")
    output.line()
    output.line(policy.document.rstrip())


def print_preview(output: Output, preview: policy_pb2.PreviewPolicyResponse, now: datetime, *, points: bool) -> None:
    """Firings, VMs, the sum of it, and the verdict on each point."""
    for warning in preview.warnings:
        output.line(f"warning: {warning}", style="yellow")
    output.table(
        ("NEXT FIRINGS", "FIRST START", "LAST START"),
        ((each.local, *_starts(each)) for each in preview.firings),
        "It begins nothing: it is paused.",
    )
    for text in dict.fromkeys(each.begins_nothing for each in preview.firings if each.begins_nothing):
        output.line(text[:1].upper() + text[1:], style="yellow")
    if preview.spread:
        other = (
            " Once the policy is applied its VMs have other places in it than these." if preview.places_change else ""
        )
        output.line(f"Starts are spread over {preview.spread}.{other}\n")
    _print_vms(output, preview, now)
    for text in preview.hooks:
        output.line(f"Hooks {text}.")
    if preview.verify_seconds:
        at_once = (
            f", of {count(preview.points_total, 'point')} {preview.verify_late} at once" if preview.verify_late else ""
        )
        output.line(f"Everything that its points need is read back every {age_text(preview.verify_seconds)}{at_once}.")
    if points:
        output.line()
        print_verdicts(output, preview)


def _print_vms(output: Output, preview: policy_pb2.PreviewPolicyResponse, now: datetime) -> None:
    tenants = any(vm.tenant not in ("", "default") for vm in preview.vms)
    output.table(
        (
            "VM",
            *(("TENANT",) if tenants else ()),
            "HOST",
            "STARTS",
            "LAST POINT",
            ">READS",
            ">STORES",
            ">TAKES",
            "WAITS",
        ),
        (
            (
                vm.name,
                *((vm.tenant,) if tenants else ()),
                vm.host_name,
                local(vm.next_start_at) if vm.HasField("next_start_at") else "-",
                age(vm.last_point_at, now) if vm.HasField("last_point_at") else "never",
                size(vm.read_bytes),
                size(vm.stored_bytes) if vm.measured else "?",
                duration(vm.seconds) if vm.seconds else "?",
                vm.waiting,
            )
            for vm in preview.vms[:VMS_SHOWN]
        ),
        "It selects none of these VMs now." if preview.vms_total else "It selects no VM now.",
    )
    asked = preview.vms_asked if preview.HasField("vms_asked") else preview.vms_total
    left_off = asked - min(len(preview.vms), VMS_SHOWN)
    if left_off > 0:
        output.line(f"… and {left_off} more VMs (--json lists up to 1,000, --vm any).")
    for line in _sums(preview) if preview.vms_total else ():
        output.line(line)


def _starts(firing: policy_pb2.PolicyFiring) -> tuple[str, str]:
    """Of its first and last VM; what becomes of a firing that begins nothing."""
    if firing.begins_nothing:
        return firing.begins_nothing.partition(":")[0], "-"
    return local(firing.first_start_at), local(firing.last_start_at)


def _sums(preview: policy_pb2.PreviewPolicyResponse) -> Iterator[str]:
    """Of what is known; and of what is not."""
    total, known, timed = preview.vms_total, preview.vms_measured, preview.vms_timed
    if not preview.HasField("vms_timed"):  # of an older controller
        yield f"{count(total, 'VM')}: {size(preview.read_bytes)} to read, of first backups all disks."
        return
    if known:
        read = size(preview.read_bytes - preview.first_read_bytes)
        yield (
            f"{known} of {count(total, 'VM')}, as their last backups were: {read} to read, {size(preview.stored_bytes)} to store."
        )
    if known < total:
        have = "has" if total - known == 1 else "have"
        yield (
            f"{total - known} of {count(total, 'VM')} {have} no backup yet: not in the sums. First backups read all disks, "
            f"{size(preview.first_read_bytes)} here; what they store, nobody knows."
        )
    if timed:
        took = f"{timed} of {count(total, 'VM')}, as long as their last backups took: {duration(preview.seconds)} one after the other"
        yield (
            f"{took}; with the limits of now about {duration(preview.estimated_seconds)} from the first start to the last end (an "
            "estimate, if nothing else runs)."
        )
    else:
        yield "How long it takes is not known: none of its VMs has a backup whose time was taken."


def print_verdicts(output: Output, preview: policy_pb2.PreviewPolicyResponse) -> None:
    """Each point of a policy with what becomes of it and why, at times of the policy's zone, which names its days; then the sums."""
    zone = _zone(preview.zone)
    output.table(
        ("#POINT", "VM", f"INSTANT ({zone})" if zone else "INSTANT", "WHAT", "WHY"),
        (
            (
                each.point.point_id,
                each.point.vm_name,
                each.point.instant.ToDatetime(tzinfo=UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
                word(each, "verdict"),
                ", ".join(each.reasons),
            )
            for each in preview.verdicts
        ),
        "Its retention has nothing to decide: it has no points there yet, or no rules.",
    )
    if preview.verdicts_left_off:
        going = preview.deletions_left_off
        both = f"{going} that go and {preview.verdicts_left_off - going} that stay"
        output.line(
            f"… and {count(preview.verdicts_left_off, 'point')} more, {both}: name VMs with --vm to see theirs."
        )
    if preview.points_to_delete:
        total = count(preview.points_total, "point")
        output.line(f"Of {total} of all its VMs {preview.points_to_delete} would be deleted.", style="yellow")


def _zone(name: str) -> tzinfo | None:
    """None: this machine's own, where it does not know the policy's, or a controller of before says none."""
    try:
        return ZoneInfo(name) if name else None
    except (ValueError, LookupError):
        return None
