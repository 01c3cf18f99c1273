"""Limits, hosts and explanations as people read them."""

from collections.abc import Iterable
from datetime import datetime

from seawall.api.v1 import limits_pb2, resources_pb2
from seawall.cli.output import Output
from seawall.cli.run_text import print_failure
from seawall.cli.text import age, count, duration, local, size
from seawall.cli.view import word

COLUMNS = ("SCOPE", ">PREPARING", ">TRANSFERRING", ">BANDWIDTH", ">WEIGHT", "SET BY", "NOTE")


def limit_rows(limits: Iterable[limits_pb2.ScopeLimits]) -> list[tuple[str, ...]]:
    """Used/limit; a dash: no limit. What is kept for restores is part of the limit."""
    return [
        (
            each.scope,
            _use(each.preparing_now, each.preparing if each.HasField("preparing") else None, each),
            _use(each.transferring_now, each.transferring if each.HasField("transferring") else None, each),
            _rate(each),
            str(each.weight) if each.weight > 1 else "",
            _set_by(each),
            _note(each),
        )
        for each in limits
    ]


def _use(now: int, cap: limits_pb2.LimitUse | None, each: limits_pb2.ScopeLimits) -> str:
    limit = "-" if cap is None else str(cap.cap)
    return limit if _for_each(each) else f"{now}/{limit}"


def _for_each(each: limits_pb2.ScopeLimits) -> bool:
    """A line that says what holds for each of its kind: nothing is used of it."""
    return ":" not in each.scope and each.scope != "global"


def _rate(each: limits_pb2.ScopeLimits) -> str:
    if not each.HasField("bandwidth"):
        return f"{size(each.bytes_per_second_now)}/s" if each.bytes_per_second_now else "-"
    limit = f"{size(each.bandwidth.cap)}/s"
    return limit if _for_each(each) else f"{size(each.bytes_per_second_now)}/s of {limit}"


def _set_by(each: limits_pb2.ScopeLimits) -> str:
    caps = {name: getattr(each, name) for name in ("preparing", "transferring", "bandwidth") if each.HasField(name)}
    sources = dict.fromkeys(cap.source for cap in caps.values())
    words = {"set": "operator", "each": f"each {each.scope.partition(':')[0]}", "built-in": "built-in"}
    return ", ".join(words[source] for source in sources)


def _note(each: limits_pb2.ScopeLimits) -> str:
    notes = []
    if each.transferring.kept_for_restores:
        notes.append(f"{each.transferring.kept_for_restores} kept for restores")
    if each.HasField("breaker"):
        notes.append(breaker_text(each.breaker))
    return "; ".join(notes)


def breaker_text(breaker: limits_pb2.Breaker) -> str:
    """Failures in a row, and what they mean."""
    failed = f"{count(breaker.failures, 'failure')} in a row ({breaker.reason})"
    if breaker.state == "closed":
        return failed
    if breaker.state == "open":
        return f"breaker open after {failed}: next try {local(breaker.next_try_at)}"
    return f"breaker half-open after {failed}: one attempt tries"


def print_host(output: Output, found: limits_pb2.HostAdmission) -> None:
    host = found.host
    output.line(host.name, style="bold")
    output.line(f"id           {host.host_id}\nstate        {host_state(host)}")
    if host.HasField("last_seen_at"):
        output.line(f"last seen    {local(host.last_seen_at)}")
    output.line(
        f"hypervisor   {host.hypervisor_version}\nagent        {host.agent_version}\nvms          {host.vm_count}"
    )
    output.line(f"certificate  until {local(host.certificate_expires_at)}")
    if found.site:
        output.line(f"site         {found.site}")
    (row,) = limit_rows([found.limits])
    output.line(
        f"preparing    {row[1]}\nruns         {row[2]}{f' ({row[6]})' if row[6] else ''}\nbandwidth    {row[3]}"
    )
    if found.service == limits_pb2.HOST_SERVICE_DRAINING:
        left = f"{count(len(found.runs), 'run')} left" if found.runs else "drained: nothing runs here"
        output.line(f"draining     {left}", style="yellow")
    if found.waiting:
        output.line(f"waiting      {count(found.waiting, 'run')}")
    if found.runs:
        output.line("")
        print_holders(output, found.runs)


def host_state(host: resources_pb2.Host) -> str:
    state = "online" if host.online else "offline"
    if host.draining:
        return f"{state}, draining"
    return f"{state}, cordoned" if host.cordoned else state


def print_holders(output: Output, holders: Iterable[limits_pb2.Holder]) -> None:
    rows = [
        (
            each.run_id,
            word(each, "kind"),
            each.vm_name,
            each.host_name,
            "preparing" if each.preparing else "transferring",
            local(each.since),
            f"{100 * each.read_bytes // each.planned_bytes} %" if each.planned_bytes else "",
            duration(each.eta_seconds) if each.eta_seconds else "",
        )
        for each in holders
    ]
    output.table(("#RUN", "KIND", "VM", "HOST", "PHASE", "SINCE", ">DONE", ">LEFT"), rows, "")


def print_explanation(output: Output, found: limits_pb2.ExplainRunResponse, now: datetime) -> None:
    """Why a run waits, what was chosen, what would help."""
    run = found.run
    output.line(f"{word(run, 'kind')} of {run.vm_name}: {word(run, 'state').replace('_', ' ')}", style="bold")
    output.line(f"asked        {age(run.created_at, now)}, class {found.admission_class}")
    if found.lateness:
        output.line(f"lateness     {found.lateness:.1f} times its objective")
    if found.HasField("blocked_on"):
        blocked = found.blocked_on
        output.line(f"waits        {blocked.sentence}")
        if blocked.cap:
            output.line(f"limit        {blocked.scope} {blocked.measure}: {blocked.used} of {blocked.cap} in use")
        output.line(f"ahead        {count(found.ahead, 'run')}")
    elif run.state == resources_pb2.RUN_STATE_READY:
        output.line("waits        for nothing: it starts with the scheduler's next look")
    if run.HasField("failure"):
        print_failure(output, run.failure)
    for title, sentences in (("chosen", found.chosen), ("disks", found.disks), ("advice", found.advice)):
        for number, sentence in enumerate(sentences):
            output.line(f"{title if number == 0 else '':<13}{sentence}")
    if found.holders:
        output.line("")
        print_holders(output, found.holders)
